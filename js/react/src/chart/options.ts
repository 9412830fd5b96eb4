/** What uPlot is told once: axes, lines, cursor. Colours come from the theme, the visible range from the view. */
import uPlot from "uplot";
import { formatTicks, formatTimeTicks } from "../format.js";
import { colourOf, dashOf } from "./marks.js";
import type { PlotShape, PlotView } from "./plot.js";
import type { Theme } from "./theme.js";

/** A threshold belongs to the picture while the values reach this share of it. */
const THRESHOLD_REACH = 0.4;
/** Values that come within this share of the way down to zero are shown with the zero. */
const ZERO_REACH = 0.7;
/** Of a tick's text, in the page's font size: ticks are three quarters of it. */
const CHARACTER_WIDTH = 0.45;
const BINARY_STEPS = Array.from({ length: 51 }, (_, power) => 2 ** power);
const SHARED: readonly string[] = ["mousemove", "mouseleave"];

export function optionsOf(
  shape: PlotShape, theme: Theme, size: { width: number; height: number }, view: () => PlotView, hooks: uPlot.Hooks.Arrays,
): uPlot.Options {
  const { lines, hasBand } = shape;
  const band = hasBand ? [bandEdge(theme), bandEdge(theme)] : [];
  return {
    ...size, hooks, legend: { show: false },
    padding: [theme.fontSize * 0.75, theme.fontSize, null, null],
    series: [{}, ...Array.from({ length: lines }, (_, line) => lineOf(line, theme)), ...band],
    bands: hasBand ? [{ series: [2, 3], fill: faded(theme.lines[0]!) }] : [],
    scales: {
      x: { time: true, range: () => [view().from, view().to] },
      y: { range: (_, low, high) => rangeOf(low, high, view().thresholds.map((one) => one.value)) },
    },
    axes: [timeAxis(theme), valueAxis(theme, shape.unit)],
    cursor: cursorOf(shape),
  };
}

function lineOf(line: number, theme: Theme): uPlot.Series {
  const stroke = theme.lines[colourOf(line)]!;
  return { stroke, width: 2, dash: dashOf(line), points: { show: isAlone, size: 5, fill: stroke } };
}

const bandEdge = (theme: Theme): uPlot.Series => ({ stroke: faded(theme.lines[0]!), width: 1, points: { show: false } });

/** A sample between two gaps is no line: points are drawn where lines would show nothing, and where samples are few. */
function isAlone(plot: uPlot, line: number, begin: number, end: number): boolean {
  if (end - begin < 12) return true;
  const values = plot.data[line]!;
  for (let at = begin; at <= end; at++) {
    if (values[at] != null && values[at - 1] === null && values[at + 1] === null) return true;
  }
  return false;
}

/** The computed colour, see-through. */
export function faded(colour: string, share = 0.18): string {
  const parts = colour.match(/[\d.]+/g) ?? [];
  return colour.startsWith("rgb") ? `rgba(${parts.slice(0, 3).join(",")},${share})` : colour;
}

function rangeOf(low: number | null, high: number | null, thresholds: readonly number[]): uPlot.Range.MinMax {
  if (low == null || high == null) return [0, 1];
  let least = low, most = high;
  for (const one of thresholds) {
    if (one > most && most >= one * THRESHOLD_REACH) most = one;
    if (one < least) least = one;
  }
  if (least > 0 && least < most * ZERO_REACH) least = 0;
  return uPlot.rangeNum(least, most, 0.1, true);
}

function axis(theme: Theme): uPlot.Axis {
  const font = `${theme.fontSize * 0.75}px ${theme.fontFamily}`;
  const line = { stroke: theme.grid, width: 1 };
  return { stroke: theme.ink, font, grid: line, ticks: { ...line, size: 4 }, gap: 4 };
}

function timeAxis(theme: Theme): uPlot.Axis {
  return {
    ...axis(theme), size: theme.fontSize * 1.75, space: theme.fontSize * 5.5,
    values: (plot, ticks, _, __, apart) => formatTimeTicks(ticks, apart).map((words, at) => fits(plot, ticks[at]!, words, theme)),
  };
}

/** A tick's words, or nothing where they would run over the plot's right edge. */
function fits(plot: uPlot, tick: number, words: string, theme: Theme): string {
  const free = plot.width - plot.bbox.left / uPlot.pxRatio - plot.valToPos(tick, "x");
  return free > words.length * theme.fontSize * CHARACTER_WIDTH / 2 ? words : "";
}

function valueAxis(theme: Theme, unit: string): uPlot.Axis {
  const steps = /^([KM]iB|B|bytes)\b/.test(unit) ? { incrs: BINARY_STEPS } : {};
  return {
    ...axis(theme), ...steps, space: theme.fontSize * 1.75,
    size: (plot, values, at, cycle) => widthOf(plot, values, at, cycle, theme),
    values: (_, ticks) => formatTicks(ticks, unit),
  };
}

/** As wide as the longest tick, and never narrower again: a plot that shifts with each value cannot be read. */
function widthOf(plot: uPlot, values: readonly string[] | null, at: number, cycle: number, theme: Theme): number {
  const known = (plot.axes[at] as { _size?: number })._size ?? 0;
  if (cycle > 1) return known;
  const longest = (values ?? []).reduce((most, value) => Math.max(most, String(value).length), 0);
  return Math.max(known, Math.ceil(longest * theme.fontSize * CHARACTER_WIDTH) + 12);
}

function cursorOf({ syncKey }: PlotShape): uPlot.Cursor {
  const isShared = (type: string): boolean => SHARED.includes(type);
  return {
    y: false,
    drag: { x: true, y: false, setScale: false, dist: 5 },
    points: { size: 9, width: 2 },
    ...(syncKey ? { sync: { key: syncKey, scales: ["x", null], setSeries: false, filters: { pub: isShared } } } : {}),
  };
}
