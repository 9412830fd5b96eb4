/** A chart in words and by key: samples of a line, where a key takes the cursor, what is under it, the summary. Pure. */
import { formatClock, formatDuration, formatValue, formatWithin } from "../format.js";
import { before, type Line, type Value } from "./lines.js";
import type { Anomaly, Threshold } from "./plot.js";

export interface Window {
  readonly from: number;
  readonly to: number;
}

/** Where the reader is: a line's key and a time of its samples. */
export interface Cursor {
  readonly line: string;
  readonly time: number;
}

export interface Sample {
  readonly time: number;
  readonly value: number;
}

const MANY = 10;
/** Lines that the summary speaks of one by one. */
const SUMMARY_LINES_MAX = 4;
/** The share of the range by which the end must differ from the beginning to be a trend. */
const TREND_SHARE = 0.15;

/** A line's samples in a window, gaps left out. */
export function samplesOf({ times, values }: Line, { from, to }: Window): Sample[] {
  const samples: Sample[] = [];
  for (let at = before(times, from); at < times.length && times[at]! <= to; at++) {
    if (values[at] != null) samples.push({ time: times[at]!, value: values[at]! });
  }
  return samples;
}

/** The value of a line at a time, or of its last sample before; null where it has a gap. */
export function valueAt({ times, values }: Line, time: number): Value {
  return values[before(times, time + 1e-6) - 1] ?? null;
}

/** Where the newest sample is on screen after the window has moved on. */
export function kept(cursor: Cursor | null, lines: readonly Line[], window: Window): Cursor | null {
  const line = cursor && lines.find(({ key }) => key === cursor.line);
  const samples = line ? samplesOf(line, window) : [];
  if (!cursor || !samples.length) return null;
  return { ...cursor, time: nearest(samples, cursor.time).time };
}

/** Where a key takes the cursor; undefined where the key is not ours. The first key enters at the newest sample. */
export function moved(key: string, isFar: boolean, lines: readonly Line[], window: Window, cursor: Cursor | null): Cursor | null | undefined {
  if (key === "Escape") return null;
  const at = Math.max(0, lines.findIndex((line) => line.key === cursor?.line));
  const turn = { PageUp: -1, PageDown: 1 }[key];
  const line = lines[turn && cursor ? (at + turn + lines.length) % lines.length : at];
  const samples = line ? samplesOf(line, window) : [];
  const jump: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
  if (!turn && !(key in jump)) return undefined;
  if (!line || !samples.length) return cursor;
  if (!cursor) return { line: line.key, time: samples.at(key === "Home" ? 0 : -1)!.time };
  const here = samples.indexOf(nearest(samples, cursor.time));
  const next = turn ? here : here + jump[key]! * (isFar ? MANY : 1);
  return { line: line.key, time: samples[Math.min(samples.length - 1, Math.max(0, next))]!.time };
}

const nearest = (samples: readonly Sample[], to: number): Sample =>
  samples.reduce((one, other) => (Math.abs(other.time - to) <= Math.abs(one.time - to) ? other : one));

/** "14:05:32, write latency 212 ms, 3 of 60", and the anomaly it lies in. */
export function spoken(cursor: Cursor, lines: readonly Line[], window: Window, unit: string, anomalies: readonly Anomaly[]): string {
  const line = lines.find(({ key }) => key === cursor.line)!;
  const samples = samplesOf(line, window);
  const at = samples.findIndex(({ time }) => time === cursor.time);
  const names = namesAt(cursor.time, anomalies).map((name) => `, anomaly ${name}`).join("");
  const time = formatWithin(cursor.time, window.to - window.from);
  return `${time}, ${line.name} ${formatValue(samples[at]?.value, unit)}, ${at + 1} of ${samples.length}${names}`;
}

/** The anomalies a time lies in. */
export const namesAt = (time: number, anomalies: readonly Anomaly[]): string[] =>
  anomalies.filter(({ from, to }) => from <= time && time <= (to ?? Infinity)).map(({ name }) => name);

/** The chart in a few sentences: where each line is, between what, which way; anomalies; thresholds passed. */
export function summaryOf(
  title: string, lines: readonly Line[], window: Window, unit: string, anomalies: readonly Anomaly[], thresholds: readonly Threshold[],
): string {
  const span = formatDuration(window.to - window.from);
  const told = lines.slice(0, SUMMARY_LINES_MAX).map((line) => sentence(line, window, unit, span, thresholds)).filter(Boolean);
  if (!told.length) return `${title}: no samples in ${span}.`;
  const rest = lines.length - SUMMARY_LINES_MAX;
  const strange = anomalies.filter(({ from, to }) => from <= window.to && (to ?? Infinity) >= window.from);
  const shown = strange.slice(-3).map(({ name, from }) => `${name} from ${formatWithin(from, window.to - window.from)}`);
  return [
    lines.length > 1 && `${title}, ${lines.length} lines.`, ...told, rest > 0 && `${rest} more lines.`,
    shown.length && `Anomalies: ${shown.join("; ")}.`,
  ].filter(Boolean).join(" ");
}

function sentence(line: Line, window: Window, unit: string, span: string, thresholds: readonly Threshold[]): string {
  const samples = samplesOf(line, window), last = samples.at(-1);
  if (!last) return "";
  const least = samples.reduce((one, other) => (other.value < one.value ? other : one));
  const most = samples.reduce((one, other) => (other.value > one.value ? other : one));
  const at = ({ time }: Sample): string => formatWithin(time, window.to - window.from);
  const value = (sample: Sample): string => formatValue(sample.value, unit);
  const passed = thresholds.filter((one) => last.value > one.value).map((one) => `, above ${one.name} ${formatValue(one.value, unit)}`);
  const now = `${line.name}: ${value(last)} at ${formatClock(last.time)}${passed.join("")}.`;
  if (least.value === most.value) return `${now} The same for ${span}.`;
  return `${now} In ${span} between ${value(least)} at ${at(least)} and ${value(most)} at ${at(most)}, ${trendOf(samples, most.value - least.value)}.`;
}

/** How the last third compares with the first. */
export function trendOf(samples: readonly Sample[], range: number): "rising" | "falling" | "steady" {
  const third = Math.ceil(samples.length / 3);
  const sum = (part: readonly Sample[]): number => part.reduce((all, { value }) => all + value, 0);
  const change = (sum(samples.slice(-third)) - sum(samples.slice(0, third))) / third;
  return Math.abs(change) <= range * TREND_SHARE ? "steady" : change > 0 ? "rising" : "falling";
}
