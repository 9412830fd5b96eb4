/** Cells of series, pooled by one tag's value: pure. Counters add, the rest is weighted by samples. */

import type { Cell } from "@hms-ops/client";

export interface TagRow {
  readonly key: string;
  readonly label: string;
  /** Of the newest second any series of the row has. */
  readonly now: number | null;
  /** Of the last minute: a counter's mean second, else the mean of samples. */
  readonly minute: number | null;
  readonly samples: number;
  readonly series: number;
}

export const UNTAGGED = "(without this tag)";

interface Pot {
  readonly label: string;
  series: number;
  readonly cells: Cell[];
}

export function poolByTag(series: ReadonlyMap<string, readonly Cell[]>, tag: string, kind: string): readonly TagRow[] {
  const pots = new Map<string, Pot>();
  for (const cells of series.values()) {
    const value = cells[0]?.tags?.[tag];
    const key = value === undefined ? "-" : `=${value}`;
    let pot = pots.get(key);
    if (!pot) pots.set(key, (pot = { label: value ?? UNTAGGED, series: 0, cells: [] }));
    pot.series += 1;
    pot.cells.push(...cells);
  }
  return [...pots].map(([key, pot]) => rowOf(key, pot, kind));
}

function rowOf(key: string, { label, series, cells }: Pot, kind: string): TagRow {
  const last = cells.reduce((time, cell) => Math.max(time, cell.time), 0);
  const samples = cells.reduce((sum, cell) => sum + cell.count, 0);
  return { key, label, series, samples, now: pooled(cells.filter((cell) => cell.time === last), kind, 1), minute: pooled(cells, kind, seconds(cells)) };
}

const seconds = (cells: readonly Cell[]): number => {
  const times = cells.map((cell) => cell.time);
  return times.length ? Math.max(...times) - Math.min(...times) + 1 : 1;
};

function pooled(cells: readonly Cell[], kind: string, over: number): number | null {
  if (kind === "counter") return cells.length ? cells.reduce((sum, cell) => sum + cell.sum, 0) / over : null;
  let weight = 0;
  let sum = 0;
  for (const cell of cells) {
    const value = kind === "gauge" || kind === "set" ? cell.value : cell.count ? cell.sum / cell.count : null;
    if (value === null) continue;
    const share = kind === "gauge" || kind === "set" ? 1 : cell.count;
    sum += value * share;
    weight += share;
  }
  return weight ? sum / weight : null;
}
