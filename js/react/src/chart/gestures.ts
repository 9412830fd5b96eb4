/** Mouse and fingers on a plot: drag to zoom, shift-drag, a sideways wheel or two fingers to pan, double click to reset. */
import type uPlot from "uplot";
import type { PlotView } from "./plot.js";

export interface Gestures {
  zoom(from: number, to: number): void;
  reset(): void;
  /** The mouse has moved over the plot: the keyboard's cursor gives way. */
  moved(): void;
}

/** Attach them all; returns the release. A plain wheel is the page's, which people scroll past charts with. */
export function bindGestures(plot: uPlot, gestures: () => Gestures, view: () => PlotView): () => void {
  const { over } = plot, ending = new AbortController(), { signal } = ending;
  const pan = (pixels: number, { from, to } = view()): void => {
    const seconds = (pixels / over.clientWidth) * (to - from);
    if (seconds) gestures().zoom(from - seconds, to - seconds);
  };
  plot.hooks.setSelect = [() => select(plot, gestures)];
  over.addEventListener("mousemove", () => gestures().moved(), { signal, capture: true });
  over.addEventListener("dblclick", (event) => (event.stopImmediatePropagation(), gestures().reset()), { signal, capture: true });
  over.addEventListener("mousedown", (event) => event.shiftKey && drag(event, pan, view(), signal), { signal, capture: true });
  over.addEventListener("wheel", (event) => {
    const { deltaX, deltaY } = event;
    const sideways = event.shiftKey ? deltaX || deltaY : Math.abs(deltaX) > Math.abs(deltaY) ? deltaX : 0;
    if (!sideways) return;
    event.preventDefault();
    pan(-sideways);
  }, { signal, passive: false });
  fingers(over, pan, signal);
  return () => ending.abort();
}

function select(plot: uPlot, gestures: () => Gestures): void {
  const { left, width } = plot.select;
  if (width < 4) return;
  plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  gestures().zoom(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
}

type Pan = (pixels: number, view?: PlotView) => void;

function drag(start: MouseEvent, pan: Pan, view: PlotView, signal: AbortSignal): void {
  start.stopImmediatePropagation();
  start.preventDefault();
  const ending = new AbortController();
  const both = { signal: AbortSignal.any([signal, ending.signal]) };
  document.addEventListener("mousemove", (event) => pan(event.clientX - start.clientX, view), both);
  document.addEventListener("mouseup", () => ending.abort(), both);
}

function fingers(over: HTMLElement, pan: Pan, signal: AbortSignal): void {
  let last: number | null = null;
  over.addEventListener("touchmove", (event) => {
    const [one, two] = [...event.touches];
    if (!one || !two) return;
    event.preventDefault();
    const middle = (one.clientX + two.clientX) / 2;
    if (last != null) pan(middle - last);
    last = middle;
  }, { signal, passive: false });
  over.addEventListener("touchend", () => (last = null), { signal });
}
