/**
 * The canvas of a chart: a uPlot in a host element, told what to show and asked nothing. It draws in the next frame with
 * all other charts, and only while it can be seen. Everything it attaches to, `destroy` lets go.
 */
import uPlot from "uplot";
import { drawAnomalies, drawEnds, drawThresholds } from "./draw.js";
import { inNextFrame, notAnyMore } from "./frames.js";
import { bindGestures, type Gestures } from "./gestures.js";
import type { Columns } from "./lines.js";
import { optionsOf } from "./options.js";
import { onThemeChange, readTheme, type Theme } from "./theme.js";

export interface Anomaly {
  /** Unix seconds. */
  readonly from: number;
  /** Without an end it goes on. */
  readonly to?: number | null | undefined;
  readonly name: string;
}

export interface Threshold {
  readonly value: number;
  /** What it means, as in "limit". */
  readonly name: string;
  readonly tone?: "warn" | "bad" | undefined;
}

/** What only a new plot can change. */
export interface PlotShape {
  readonly lines: number;
  readonly hasBand: boolean;
  readonly unit: string;
  readonly height: number;
  readonly syncKey: string | undefined;
}

export interface PlotView {
  readonly columns: Columns;
  readonly from: number;
  readonly to: number;
  /** Of each line. */
  readonly shown: readonly boolean[];
  readonly anomalies: readonly Anomaly[];
  readonly thresholds: readonly Threshold[];
  /** Where the keyboard's cursor stands; null leaves it to the mouse. */
  readonly pin: { readonly time: number; readonly value: number | null } | null;
}

export interface PlotEvents extends Gestures {
  /** The mouse's cursor, here or in a chart of the same syncKey, is on this time; null when it has left. */
  hover(time: number | null): void;
  resized(width: number): void;
}

export interface Plot {
  show(view: PlotView): void;
  destroy(): void;
}

/** Where elements have no size (jsdom, printing), a plot is this wide. */
const WIDTH_UNKNOWN = 600;

export function createPlot(host: HTMLElement, shape: PlotShape, events: PlotEvents, first: PlotView): Plot {
  let view = first, theme = readTheme(host), isSeen = true, isDue = false, width = 0;
  let plot: uPlot | null = null;
  let release = (): void => {};

  const due = (): void => {
    isDue = true;
    if (isSeen && width) inNextFrame(draw);
  };
  const draw = (): void => {
    isDue = false;
    plot ??= make();
    if (plot.width !== width) plot.setSize({ width, height: shape.height });
    apply(plot, view);
  };
  const make = (): uPlot => {
    const hooks = {
      drawAxes: [(u: uPlot) => drawAnomalies(u, theme, view.anomalies)],
      draw: [(u: uPlot) => (drawThresholds(u, theme, view.thresholds, shape.unit), drawEnds(u, theme, shape.lines))],
      setCursor: [(u: uPlot) => view.pin || events.hover(timeUnder(u))],
    };
    const made = new uPlot(optionsOf(shape, theme, width, () => view, hooks), view.columns as uPlot.AlignedData, host);
    release = bindGestures(made, events, () => view);
    return made;
  };
  const unmake = (): void => {
    release();
    plot?.destroy();
    plot = null;
  };

  const stops = [
    onThemeChange(() => {
      const now = readTheme(host);
      if (!sameTheme(now, theme)) (theme = now), unmake(), due();
    }),
    onResize(host, (now) => {
      if (now === width) return;
      width = now;
      events.resized(now);
      due();
    }),
    onSight(host, (now) => {
      isSeen = now;
      if (isDue) due();
    }),
  ];
  return {
    show(next) {
      view = next;
      due();
    },
    destroy() {
      notAnyMore(draw);
      for (const stop of stops) stop();
      unmake();
    },
  };
}

/** Bring the plot to a view: one pass, drawn once. */
function apply(plot: uPlot, view: PlotView): void {
  plot.batch(() => {
    plot.setData(view.columns as uPlot.AlignedData, false);
    plot.setScale("x", { min: view.from, max: view.to });
    view.shown.forEach((show, line) => {
      if (plot.series[line + 1]?.show !== show) plot.setSeries(line + 1, { show }, false);
    });
  });
  if (view.pin) pinned(plot, view.pin);
}

/** Put the cursor on a sample, and those of charts of the same syncKey with it. */
function pinned(plot: uPlot, { time, value }: NonNullable<PlotView["pin"]>): void {
  const top = value == null ? plot.over.clientHeight / 2 : plot.valToPos(value, "y");
  const place = { left: plot.valToPos(time, "x"), top };
  (plot.setCursor as (place: { left: number; top: number }, fires: boolean, isShared: boolean) => void)(place, false, true);
}

function timeUnder(plot: uPlot): number | null {
  const { idx, left } = plot.cursor;
  return idx == null || left == null || left < 0 ? null : plot.data[0]![idx] ?? null;
}

const sameTheme = (one: Theme, other: Theme): boolean => JSON.stringify(one) === JSON.stringify(other);

/** The width from the observer's own measure, so that nobody forces a layout to learn it. */
function onResize(host: HTMLElement, changed: (width: number) => void): () => void {
  if (typeof ResizeObserver === "undefined") return changed(host.clientWidth || WIDTH_UNKNOWN), () => {};
  const observer = new ResizeObserver((entries) => changed(Math.round(entries.at(-1)!.contentRect.width)));
  observer.observe(host);
  return () => observer.disconnect();
}

function onSight(host: HTMLElement, changed: (isSeen: boolean) => void): () => void {
  if (typeof IntersectionObserver === "undefined") return () => {};
  const observer = new IntersectionObserver((entries) => changed(entries.at(-1)!.isIntersecting), { rootMargin: "100px" });
  observer.observe(host);
  return () => observer.disconnect();
}
