// The newest cells of one series, and snapshots of them that stay the same array until a cell comes.
import type { Cell } from "@hms-ops/client";

/** How long a gauge's value holds without another, as in the engine. */
const GAUGE_SECONDS = 300;
const NONE: readonly Cell[] = Object.freeze([]);

export class Ring {
  private kept: Cell[] = [];
  private shown: readonly Cell[] | null = NONE;
  private isFrozen = false;

  /** Whether the cell is new: a second comes once, however often streams repeat it. Late ones are put in their place. */
  push(cell: Cell, secondsMax: number): boolean {
    const { kept } = this;
    let at = kept.length;
    while (at && (kept[at - 1] as Cell).time > cell.time) at--;
    if (kept[at - 1]?.time === cell.time) return false;
    if (cell.time <= (this.newest?.time ?? -Infinity) - secondsMax) return false;
    kept.splice(at, 0, cell);
    this.forgetBefore((this.newest as Cell).time - secondsMax);
    if (!this.isFrozen) this.shown = null;
    return true;
  }

  get newest(): Cell | undefined {
    return this.kept.at(-1);
  }

  /** All there is now, also while snapshots stand still; not to be kept or changed. */
  get current(): readonly Cell[] {
    return this.kept;
  }

  snapshot(): readonly Cell[] {
    return (this.shown ??= this.kept.slice());
  }

  freeze(): void {
    this.snapshot();
    this.isFrozen = true;
  }

  thaw(): void {
    this.isFrozen = false;
    this.shown = null;
  }

  /** Whether the stream has gone on to `second` for so long without a cell that what is here says nothing of now. */
  isOver(second: number, secondsMax: number): boolean {
    const { newest } = this;
    return !newest || newest.time <= second - (newest.kind === "gauge" ? Math.max(secondsMax, GAUGE_SECONDS) : secondsMax);
  }

  clear(): void {
    this.kept = [];
    if (!this.isFrozen) this.shown = NONE;
  }

  private forgetBefore(time: number): void {
    const first = this.kept[0];
    if (!first || first.time > time) return;
    let count = 1;
    while (count < this.kept.length && (this.kept[count] as Cell).time <= time) count++;
    this.kept.splice(0, count);
  }
}
