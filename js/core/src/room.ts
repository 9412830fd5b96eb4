// One watched metric: who watches it, and its rings: one for all series pooled, or one for each series.
import type { Cell, Tags } from "@hms-ops/client";
import { Ring } from "./ring.js";

export const SECONDS_DEFAULT = 60;
const POOLED = "";
const NONE: readonly Cell[] = Object.freeze([]);
const NO_SERIES: ReadonlyMap<string, readonly Cell[]> = new Map();

/** The tags' canonical text: {a="1",b="2"}, "{}" for none. */
export function tagsText(tags: Tags | null): string {
  const keys = Object.keys(tags ?? {}).sort();
  return `{${keys.map((key) => `${key}=${JSON.stringify(tags?.[key])}`).join()}}`;
}

export type Sort = "pooled" | "series";

export class Room {
  /** Who is told of new cells, and how many seconds each wants to be kept. */
  readonly watchers = new Map<symbol, { readonly changed: () => void; readonly seconds: number }>();
  private readonly rings = new Map<string, Ring>();
  private secondsMax = SECONDS_DEFAULT;
  private shown: ReadonlyMap<string, readonly Cell[]> | null = NO_SERIES;
  private isFrozen = false;

  /** name: a metric, or with a trailing `*` all that begin so; their rings are then by metric. */
  constructor(
    readonly name: string,
    readonly sort: Sort,
  ) {}

  takes(metric: string): boolean {
    return this.name.endsWith("*") ? metric.startsWith(this.name.slice(0, -1)) : metric === this.name;
  }

  /** Whether the cell is new here. */
  push(cell: Cell): boolean {
    const key = this.keyOf(cell);
    let ring = this.rings.get(key);
    if (!ring) this.rings.set(key, (ring = new Ring()));
    const isNew = ring.push(cell, this.secondsMax);
    if (isNew && !this.isFrozen) this.shown = null;
    return isNew;
  }

  /** Forget what has ended; whether anything had. */
  forget(second: number): boolean {
    const { size } = this.rings;
    for (const [key, ring] of this.rings) if (ring.isOver(second, this.secondsMax)) this.rings.delete(key);
    if (this.rings.size === size) return false;
    this.shown = null;
    return true;
  }

  cells(metric: string): readonly Cell[] {
    return this.rings.get(this.name.endsWith("*") ? metric : POOLED)?.snapshot() ?? NONE;
  }

  /** The pooled cells as they are now, paused or not. */
  current(): readonly Cell[] {
    return this.rings.get(POOLED)?.current ?? NONE;
  }

  bySeries(): ReadonlyMap<string, readonly Cell[]> {
    return (this.shown ??= new Map([...this.rings].map(([key, ring]) => [key, ring.snapshot()])));
  }

  watch(changed: () => void, seconds: number): symbol {
    const watcher = Symbol();
    this.watchers.set(watcher, { changed, seconds });
    this.secondsMax = Math.max(this.secondsMax, seconds);
    return watcher;
  }

  unwatch(watcher: symbol): void {
    this.watchers.delete(watcher);
    this.secondsMax = Math.max(SECONDS_DEFAULT, ...[...this.watchers.values()].map((one) => one.seconds));
  }

  freeze(): void {
    this.bySeries();
    this.isFrozen = true;
    for (const ring of this.rings.values()) ring.freeze();
  }

  thaw(): void {
    this.isFrozen = false;
    this.shown = null;
    for (const ring of this.rings.values()) ring.thaw();
  }

  clear(): void {
    for (const ring of this.rings.values()) ring.clear();
    if (!this.isFrozen) this.shown = null;
  }

  private keyOf(cell: Cell): string {
    if (this.sort === "series") return tagsText(cell.tags);
    return this.name.endsWith("*") ? cell.metric : POOLED;
  }
}
