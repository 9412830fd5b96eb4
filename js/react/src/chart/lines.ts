/**
 * Lines of a chart as plain columns, and how they come about: from the cells of the stream, from answers of history,
 * from both, one after the other. Pure. Samples that are missing are a row of nulls; `aligned` puts lines on one time
 * axis for uPlot, where null is a gap and undefined means that this line has no sample there and goes on.
 */
import type { Cell, QueryAnswer, Tags } from "@hms-ops/client";
import { visible } from "@hms-ops/core";

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

/** A time with its value, its least and its most, which are the value where nothing else is known. */
export type Row = readonly [time: number, value: Value, low: Value, high: Value];

/** Samples further apart than so many of their usual distances are not joined. A sender may skip a second of the stream. */
const LIVE_GAP = 2.5;
const HISTORY_GAP = 1.5;

export const rowsOfCells = (cells: readonly Cell[]): Row[] =>
  withGaps(cells.map((cell) => [cell.time, cell.value, ...(hasBand(cell) ? [cell.min, cell.max] as const : [cell.value, cell.value] as const)]), LIVE_GAP);

/** A sum has no least and most that belong beside it. */
const hasBand = ({ kind, count }: Cell): boolean => count > 1 && kind !== "counter" && kind !== "set" && kind !== "unknown";

/** Steps with a value, from answers over the same steps: the mean first, then least and most if they were asked for. */
export function rowsOfHistory([mean, least, most]: readonly (Points | undefined)[]): Row[] {
  const low = new Map(least), high = new Map(most);
  const rows = (mean ?? []).filter(([, value]) => value != null);
  return withGaps(rows.map(([time, value]) => [time, value, low.get(time) ?? value, high.get(time) ?? value]), HISTORY_GAP);
}

type Points = QueryAnswer["series"][number]["points"];

/** A row without a value where samples are missing: there the line breaks. */
function withGaps(rows: readonly Row[], distances: number): Row[] {
  const apart = rows.slice(1).map(([time], at) => time - rows[at]![0]).sort((a, b) => a - b);
  const usual = apart[apart.length >> 1] ?? 1;
  return rows.flatMap((row, at) => {
    const [before] = rows[at - 1] ?? row;
    return row[0] - before > distances * usual ? [[before + usual, null, null, null], row] : [row];
  });
}

/** History up to where the live rows begin, and these. A step that they overlap is theirs. */
export const spliced = (past: readonly Row[], step: number, live: readonly Row[]): Row[] =>
  [...past.filter(([time]) => time + step <= (live[0]?.[0] ?? Infinity)), ...live];

export function lineOf(key: string, name: string, rows: readonly Row[]): Line {
  const line = { key, name: visible(name), times: rows.map(([time]) => time), values: rows.map(([, value]) => value) };
  if (rows.every(([, , low, high]) => low === high)) return line;
  return { ...line, low: rows.map(([, , low]) => low), high: rows.map(([, , , high]) => high) };
}

/** A line for each series of each answer. With several expressions a line says which one it is of. */
export const linesOfAnswers = (answers: readonly QueryAnswer[]): Line[] =>
  answers.flatMap(({ expr, series }) => series.map((one) => {
    const tags = tagsText(one.tags) || (series[1] ? "no tag" : ""); // beside those that have the tag of a GROUP BY
    const name = answers.length > 1 || !tags ? `${expr} ${tags}`.trim() : tags;
    return lineOf(`${expr} ${tags}`, name, rowsOfHistory([one.points]));
  }));

/** `agency irs, host db-1`: tags as people read them. */
export const tagsText = (tags: Tags | null): string =>
  visible(Object.entries(tags ?? {}).map(([tag, value]) => `${tag} ${value}`).join(", "));

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
  const times = [...new Set(lines.flatMap((line) => line.times))].sort((a, b) => a - b);
  const places = new Map(times.map((time, at) => [time, at]));
  const placed = (line: Line, values: readonly Value[]): (Value | undefined)[] => {
    const column = new Array<Value | undefined>(times.length);
    line.times.forEach((time, at) => (column[places.get(time)!] = values[at]));
    return column;
  };
  const [only] = lines;
  const band = lines.length === 1 && only?.high && only.low ? [placed(only, only.high), placed(only, only.low)] : [];
  return [times, ...lines.map((line) => placed(line, line.values)), ...band];
}
