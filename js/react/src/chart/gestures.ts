/** The mouse on a plot: drag to zoom, shift-drag or a sideways wheel (two fingers of a touch pad) to pan, double click to reset. */
import type uPlot from "uplot";
import type { PlotView } from "./plot.js";

export interface Gestures {
  zoom(from: number, to: number): void;
  reset(): void;
  /** The mouse has moved over the plot: the keyboard's cursor gives way. */
  moved(): void;
}

/** Attach them to the plot's own element, with which they go. A plain wheel is the page's, which people scroll past charts with. */
export function bindGestures(plot: uPlot, gestures: () => Gestures, view: () => PlotView): void {
  const { over } = plot;
  const pan = (pixels: number, { from, to } = view()): void => {
    const seconds = (pixels / over.clientWidth) * (to - from);
    if (seconds) gestures().zoom(from - seconds, to - seconds);
  };
  plot.hooks.setSelect = [() => select(plot, gestures)];
  const on = <T extends "mousemove" | "dblclick" | "mousedown" | "wheel">(type: T, heard: (event: HTMLElementEventMap[T]) => void): void =>
    over.addEventListener(type, heard, { capture: true, passive: false }); // before uPlot's own
  on("mousemove", () => gestures().moved());
  on("dblclick", (event) => (event.stopImmediatePropagation(), gestures().reset()));
  on("mousedown", (event) => event.shiftKey && drag(event, pan, view()));
  on("wheel", (event) => {
    const { deltaX, deltaY, shiftKey } = event;
    const sideways = shiftKey ? deltaX || deltaY : Math.abs(deltaX) > Math.abs(deltaY) ? deltaX : 0;
    if (!sideways) return;
    event.preventDefault();
    pan(-sideways);
  });
}

function select(plot: uPlot, gestures: () => Gestures): void {
  const { left, width } = plot.select;
  if (width < 4) return;
  plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  gestures().zoom(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
}

/** Until the button is let go, wherever that is. */
function drag(start: MouseEvent, pan: (pixels: number, view: PlotView) => void, view: PlotView): void {
  start.stopImmediatePropagation();
  start.preventDefault();
  const moved = (event: MouseEvent): void => pan(event.clientX - start.clientX, view);
  document.addEventListener("mousemove", moved);
  document.addEventListener("mouseup", () => document.removeEventListener("mousemove", moved), { once: true });
}
