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
import { onThemeChange, readTheme } from "./theme.js";

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
  /** Values are 0 and 1: they jump. */
  readonly isSwitch: boolean;
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

/** What is to be shown, and who is told: the page writes it anew with each render. */
export interface PlotNow {
  view: PlotView;
  events: PlotEvents;
}

export interface Plot {
  show(): void;
  destroy(): void;
}

export function createPlot(host: HTMLElement, shape: PlotShape, now: PlotNow): Plot {
  let theme = readTheme(host), isSeen = true, isDue = false, width = 0, height = 0, isPinned = false;
  let plot: uPlot | null = null;

  const due = (): void => {
    isDue = true;
    if ((isSeen || !plot) && width) inNextFrame(draw); // once in any case: paper has no scroll bar
  };
  const draw = (): void => {
    isDue = false;
    plot ??= make();
    if (plot.width !== width || plot.height !== height) plot.setSize({ width, height });
    apply(plot, now.view);
    queueMicrotask(pin); // when all charts of this frame show the same window
  };
  const pin = (): void => {
    const { pin } = now.view;
    if (!plot) return;
    if (pin) placed(plot, { left: plot.valToPos(pin.time, "x"), top: plot.valToPos(pin.value ?? 0, "y") }, false);
    else if (isPinned) placed(plot, AWAY, true);
    isPinned = !!pin;
  };
  const make = (): uPlot => {
    const hooks = {
      drawAxes: [(u: uPlot) => drawAnomalies(u, theme, now.view.anomalies)],
      draw: [(u: uPlot) => (drawThresholds(u, theme, now.view.thresholds, shape.unit), drawEnds(u, theme, shape.lines))],
      setCursor: [(u: uPlot) => now.view.pin || now.events.hover(timeUnder(u))],
    };
    const made = new uPlot(optionsOf(shape, theme, { width, height }, () => now.view, hooks), now.view.columns as uPlot.AlignedData, host);
    // The mouse has the cursor now: it is not taken away when the keyboard's goes.
    const moved = (): void => ((isPinned = false), now.events.moved());
    bindGestures(made, () => ({ ...now.events, moved }), () => now.view);
    return made;
  };
  const unmake = (): void => {
    plot?.destroy();
    plot = null;
  };

  const stops = [
    onThemeChange(() => {
      const changed = readTheme(host);
      if (JSON.stringify(changed) !== JSON.stringify(theme)) (theme = changed), unmake(), due();
    }),
    observed(ResizeObserver, host, ({ contentRect }) => {
      (width = Math.round(contentRect.width)), (height = Math.round(contentRect.height));
      now.events.resized(width);
      due();
    }),
    observed(IntersectionObserver, host, ({ isIntersecting }) => {
      isSeen = isIntersecting;
      if (isDue) due();
    }),
  ];
  return {
    show: due,
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
}

type Place = { left: number; top: number };
const AWAY: Place = { left: -10, top: -10 };

/** The cursor, here and in charts of the same syncKey. uPlot's types leave the last argument out. */
const placed = (plot: uPlot, place: Place, fires: boolean): void =>
  (plot.setCursor as (place: Place, fires: boolean, isShared: boolean) => void)(place, fires, true);

function timeUnder(plot: uPlot): number | null {
  const { idx, left } = plot.cursor;
  return idx == null || left == null || left < 0 ? null : plot.data[0]![idx] ?? null;
}

/** Observe the host until it is let go: so nobody forces a layout to learn its size. */
function observed<Entry>(kind: new (tell: (entries: Entry[]) => void) => { observe(host: Element): void; disconnect(): void }, host: Element, changed: (last: Entry) => void): () => void {
  const observer = new kind((entries) => changed(entries.at(-1)!));
  observer.observe(host);
  return () => observer.disconnect();
}
