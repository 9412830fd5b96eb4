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
const UNIT_CHARS_MAX = 7; // bytes/s
const BINARY_STEPS = Array.from({ length: 51 }, (_, power) => 2 ** power);

export function optionsOf(
  shape: PlotShape, theme: Theme, size: { width: number; height: number }, view: () => PlotView, hooks: uPlot.Hooks.Arrays,
): uPlot.Options {
  const { lines, hasBand, isSwitch } = shape;
  const band = hasBand ? [bandEdge(theme), bandEdge(theme)] : [];
  return {
    ...size, hooks, legend: { show: false },
    // Room for half of the last tick's words.
    padding: [theme.fontSize, theme.fontSize * 1.75, null, null],
    series: [{}, ...Array.from({ length: lines }, (_, line) => lineOf(line, theme, isSwitch)), ...band],
    bands: hasBand ? [{ series: [2, 3], fill: theme.band }] : [],
    scales: {
      x: { range: () => [view().from, view().to] },
      y: { range: (_, low, high) => rangeOf(low, high, view().thresholds.map((one) => one.value)) },
    },
    axes: [timeAxis(theme), valueAxis(theme, shape.unit)],
    cursor: cursorOf(shape),
  };
}

function lineOf(line: number, theme: Theme, isSwitch: boolean): uPlot.Series {
  const stroke = theme.lines[colourOf(line)]!;
  const paths = isSwitch ? { paths: uPlot.paths.stepped!({ align: 1 }) } : {};
  return { ...paths, stroke, width: 2, dash: dashOf(line), points: { show: isShort, filter: alone, size: 5, fill: stroke } };
}

const bandEdge = ({ band }: Theme): uPlot.Series => ({ stroke: band, width: 1, points: { show: false } });

/** Few samples are shown one by one. */
const isShort = (_plot: uPlot, _line: number, begin: number, end: number): boolean => end - begin < 12;

/** A sample between two gaps is no line: a point is drawn where a line would show nothing. */
function alone(plot: uPlot, line: number, hasAll: boolean): number[] | null {
  const values = plot.data[line]!;
  const isAlone = (at: number): boolean => values[at] != null && values[at - 1] === null && values[at + 1] === null;
  return hasAll ? null : [...values.keys()].filter(isAlone);
}

function rangeOf(low: number | null, high: number | null, thresholds: readonly number[]): uPlot.Range.MinMax {
  if (low == null || high == null) return [0, 1];
  let least = low, most = high;
  for (const one of thresholds) {
    if (one > most && most >= one * THRESHOLD_REACH) most = one;
    if (one < least) least = one;
  }
  if (least > 0 && least < most * ZERO_REACH) least = 0;
  return least === most && !most ? [0, 1] : uPlot.rangeNum(least, most, 0.1, true);
}

function axis(theme: Theme): uPlot.Axis {
  const font = `${theme.fontSize * 0.75}px ${theme.fontFamily}`;
  const line = { stroke: theme.grid, width: 1 };
  return { stroke: theme["ink-soft"], font, grid: line, ticks: { ...line, size: 4 } };
}

function timeAxis(theme: Theme): uPlot.Axis {
  return {
    ...axis(theme), size: theme.fontSize * 1.75, space: theme.fontSize * 5.5,
    values: (_, ticks, __, ___, apart) => formatTimeTicks(ticks, apart),
  };
}

/** Of one width for all charts, so that their times stand below each other; a unit that is a word stands in the title. */
function valueAxis(theme: Theme, unit: string): uPlot.Axis {
  const short = unit.length > UNIT_CHARS_MAX ? "" : unit;
  const steps = /^([KM]iB|B|bytes)\b/.test(unit) ? { incrs: BINARY_STEPS } : {};
  return { ...axis(theme), ...steps, space: theme.fontSize * 1.75, size: theme.fontSize * 4, values: (_, ticks) => formatTicks(ticks, short) };
}

function cursorOf({ syncKey }: PlotShape): uPlot.Cursor {
  const isShared = (type: string): boolean => /^mouse[lm]/.test(type); // mousemove, mouseleave
  return {
    y: false,
    drag: { setScale: false, dist: 5 },
    points: { size: 9 },
    ...(syncKey && { sync: { key: syncKey, scales: ["x", null], setSeries: false, filters: { pub: isShared } } }),
  };
}
