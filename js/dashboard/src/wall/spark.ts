/** The last minute as a line of an SVG: pure. */

import type { Cell } from "@hms-ops/client";

export const SPARK_SECONDS = 60;
export const WIDTH = 120;
export const HEIGHT = 32;
const EDGE = 2;

/** A path over the seconds up to `second`; a hole of more than `hole` seconds is left open. */
export function sparkPath(cells: readonly Cell[], second: number, hole = 3): string {
  const shown = cells.filter((cell) => cell.value !== null && cell.time > second - SPARK_SECONDS);
  if (!shown.length) return "";
  const [low, high] = bounds(shown);
  let path = "";
  let before = -Infinity;
  for (const cell of shown) {
    const x = ((cell.time - (second - SPARK_SECONDS)) / SPARK_SECONDS) * WIDTH;
    const y = HEIGHT - EDGE - (((cell.value ?? 0) - low) / (high - low)) * (HEIGHT - 2 * EDGE);
    path += `${cell.time - before > hole ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
    if (cell.time - before > hole) path += "h.01"; // a lone second is a dot
    before = cell.time;
  }
  return path;
}

/** Room above and below; a line that does not move stands in the middle, and noise of a thousandth is not blown up. */
export function bounds(cells: readonly Cell[]): readonly [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const { value } of cells) {
    if (value === null) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const least = Math.max(Math.abs(low), Math.abs(high)) * 0.01 || 1;
  if (high - low >= least) return [low, high];
  const middle = (low + high) / 2;
  return [middle - least / 2, middle + least / 2];
}
