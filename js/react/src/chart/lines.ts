/**
 * Lines of a chart as plain columns, and how they come about: from the cells of the stream, from answers of history,
 * from both, one after the other. Pure. A null value is a gap; `aligned` puts lines on one time axis for uPlot, where
 * undefined means that this line has no sample there and goes on.
 */
import type { Cell, QueryAnswer, Tags } from "@hms-ops/client";

export type Value = number | null;

export interface Line {
  readonly key: string;
  readonly name: string;
  readonly times: readonly number[];
  readonly values: readonly Value[];
  /** The least and the most of each time, where they are known. */
  readonly low?: readonly Value[];
  readonly high?: readonly Value[];
}

export type Columns = [number[], ...(Value | undefined)[][]];

/** Lines that are drawn; the others are counted in words. */
export const LINES_MAX = 16;

/** Samples further apart than this many of their usual distances are not joined: a sender that skips one is no gap. */
const GAP_DISTANCES = 2.5;

/** A metric's cells as a line with its band, and a null where the line breaks. */
export function lineOfCells(name: string, cells: readonly Cell[]): Line {
  const times: number[] = [], values: Value[] = [], low: Value[] = [], high: Value[] = [];
  const push = (time: number, value: Value, least: Value, most: Value) => {
    times.push(time), values.push(value), low.push(least), high.push(most);
  };
  const apart = usualDistance(cells);
  let before = Infinity;
  for (const { time, value, min, max, count } of cells) {
    if (time - before > GAP_DISTANCES * apart) push(before + apart, null, null, null);
    push(time, value, count > 1 ? min : value, count > 1 ? max : value);
    before = time;
  }
  return cells.some(hasBand) ? { key: name, name, times, values, low, high } : { key: name, name, times, values };
}

/** A sum has no least and most that belong beside it. */
const hasBand = ({ kind, count, min, max }: Cell): boolean =>
  count > 1 && min !== max && kind !== "counter" && kind !== "set" && kind !== "unknown";

/** The median distance of samples, in seconds. */
function usualDistance(cells: readonly Cell[]): number {
  const apart = cells.slice(1).map((cell, at) => cell.time - cells[at]!.time).sort((a, b) => a - b);
  return apart[apart.length >> 1] ?? 1;
}

/** A line for each series of each answer. With several expressions a line says which one it is of. */
export function linesOfAnswers(answers: readonly QueryAnswer[]): Line[] {
  return answers.flatMap(({ expr, series }) =>
    series.map((one) => {
      const tags = tagsText(one.tags);
      const name = answers.length > 1 || !tags ? [expr, tags].filter(Boolean).join(" ") : tags;
      return { key: `${expr} ${tags}`, name, ...columnsOf(one.points) };
    }),
  );
}

function columnsOf(points: QueryAnswer["series"][number]["points"]): Pick<Line, "times" | "values"> {
  return { times: points.map(([time]) => time), values: points.map(([, value]) => value) };
}

/** `agency irs, host db-1`: tags as people read them. */
export const tagsText = (tags: Tags | null): string =>
  Object.entries(tags ?? {}).map(([tag, value]) => `${tag} ${value}`).join(", ");

/** History with its least and most, from answers over the same steps: the mean first, then min and max. */
export function lineOfHistory(name: string, [mean, least, most]: readonly QueryAnswer[]): Line {
  const { times, values } = columnsOf(mean?.series[0]?.points ?? []);
  const line = { key: name, name, times, values };
  return least && most ? { ...line, low: onTimes(times, least), high: onTimes(times, most) } : line;
}

function onTimes(times: readonly number[], answer: QueryAnswer): Value[] {
  const known = new Map(answer.series[0]?.points);
  return times.map((time) => known.get(time) ?? null);
}

/** History up to where the live cells begin, and these. A step that they overlap is theirs. */
export function spliced(past: Line, step: number, live: Line): Line {
  const first = live.times[0] ?? Infinity;
  const end = past.times.findIndex((time) => time + step > first);
  const kept = end < 0 ? past.times.length : end;
  const join = (before: readonly Value[], after: readonly Value[]) => [...before.slice(0, kept), ...after];
  const line = { ...live, times: [...past.times.slice(0, kept), ...live.times], values: join(past.values, live.values) };
  if (!past.low && !live.low) return line;
  return { ...line, low: join(past.low ?? past.values, live.low ?? live.values), high: join(past.high ?? past.values, live.high ?? live.values) };
}

/** What of a line is in [from, to], and a sample on either side so that it reaches the edges. */
export function clipped(line: Line, from: number, to: number): Line {
  const { times } = line;
  const begin = Math.max(0, before(times, from) - 1);
  const end = before(times, to + 1e-9) + 1;
  if (begin === 0 && end >= times.length) return line;
  const cut = (column: readonly Value[]) => column.slice(begin, end);
  const short = { ...line, times: times.slice(begin, end), values: cut(line.values) };
  return line.low && line.high ? { ...short, low: cut(line.low), high: cut(line.high) } : short;
}

/** How many of the ascending times are below one. */
export function before(times: readonly number[], time: number): number {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle]! < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** One time axis for all lines; the band of a single line behind its values, high before low. */
export function aligned(lines: readonly Line[]): Columns {
  const [only] = lines;
  if (lines.length === 1 && only) {
    const band = only.high && only.low ? [[...only.high], [...only.low]] : [];
    return [[...only.times], [...only.values], ...band];
  }
  const times = [...new Set(lines.flatMap((line) => line.times))].sort((a, b) => a - b);
  const places = new Map(times.map((time, at) => [time, at]));
  return [times, ...lines.map((line) => {
    const column = new Array<Value | undefined>(times.length);
    line.times.forEach((time, at) => (column[places.get(time)!] = line.values[at]));
    return column;
  })];
}
