// metric.mean: what a metric's mean over a window is, at once, from cells that are kept here.
//
// The first time a metric is asked for, its cells begin to be kept, as long as the window is; what was before comes from
// the engine's history, as sums and counts by 10 s. A metric that is not asked for in FORGET_MS is forgotten.
//
//     ├── history, 10-s steps ──┼── cells, by the second ──┤ newest second
import type { Cell } from "@hms-ops/client";
import type { Store } from "./live.js";

const FORGET_MS = 300_000;
const METRICS_MAX = 1000;
const WINDOW_SECONDS_MAX = 3600;
const STEP_SECONDS = 10;
const AGAIN_MS = 5000;

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

/** The seconds of 30s, 10m, 1h; at most an hour. */
export function secondsOf(window: string): number {
  const [, count, unit] = /^(\d+)([smh])$/.exec(window) ?? [];
  const seconds = Number(count) * (UNITS[unit ?? ""] ?? NaN);
  if (!(seconds >= 1 && seconds <= WINDOW_SECONDS_MAX)) {
    throw new RangeError(`a window is 1s to 1h, such as 30s or 10m, not ${JSON.stringify(window)}`);
  }
  return seconds;
}

interface Step {
  readonly time: number;
  readonly count: number;
  readonly sum: number;
}

class Kept {
  seconds = 0;
  askedAt = Date.now();
  /** undefined until history has answered. */
  steps: readonly Step[] | undefined;
  private end: (() => void) | undefined;
  private isAsking = false;
  private isOver = false;

  constructor(
    private readonly store: Store,
    private readonly name: string,
  ) {}

  /** Keep so many seconds from now on. */
  keep(seconds: number): void {
    this.askedAt = Date.now();
    if (seconds <= this.seconds) return;
    this.seconds = seconds;
    const before = this.end;
    this.end = this.store.watch(this.name, () => void this.fill(), { seconds });
    before?.();
    this.steps = undefined;
    void this.fill();
  }

  forget(): void {
    this.isOver = true;
    this.end?.();
  }

  /** Weighted: the sum of all samples by their count. */
  mean(seconds: number): number {
    const cells = this.store.current(this.name);
    const second = this.store.state().second;
    if (second === null || !this.steps) return NaN;
    let sum = 0;
    let count = 0;
    const add = (one: Step | Cell): void => {
      sum += one.sum;
      count += one.count;
    };
    const first = cells[0]?.time ?? Infinity;
    for (const cell of cells) if (cell.time > second - seconds) add(cell);
    for (const step of this.steps) if (step.time >= second - seconds && step.time + STEP_SECONDS <= first) add(step);
    return sum / count; // NaN without samples
  }

  /** Ask for what was before, once there are cells to join it to: which second is the newest, the stream says. */
  private async fill(): Promise<void> {
    const second = this.store.state().second;
    if (this.steps || this.isAsking || this.isOver || second === null) return;
    const { seconds } = this;
    this.isAsking = true;
    try {
      const steps = await this.history(second, seconds);
      if (seconds === this.seconds) this.steps = steps;
    } catch {
      setTimeout(() => void this.fill(), AGAIN_MS); // the stream's state says what is wrong
    }
    this.isAsking = false;
    if (seconds !== this.seconds) void this.fill();
  }

  private async history(second: number, seconds: number): Promise<readonly Step[]> {
    const start = Math.floor((second - seconds) / STEP_SECONDS) * STEP_SECONDS;
    const range = { start, end: second, step: STEP_SECONDS };
    const ask = (aggregate: string) => this.store.client.query(`${aggregate}(${this.name})`, range);
    const [sums, counts] = await Promise.all([ask("sum"), ask("count")]);
    const counted = new Map(counts.series[0]?.points ?? []);
    return (sums.series[0]?.points ?? []).map(([time, sum]) => ({ time, sum: sum ?? 0, count: counted.get(time) ?? 0 }));
  }
}

export class Windows {
  private readonly kept = new Map<string, Kept>();

  constructor(private readonly store: () => Store) {}

  /** NaN until it is known, and while there are no samples. */
  mean(name: string, window: string): number {
    const seconds = secondsOf(window);
    return this.keep(name, seconds)?.mean(seconds) ?? NaN;
  }

  /** The newest second's value; NaN until one is known. */
  last(name: string): number {
    this.keep(name, 1);
    return this.store().current(name).at(-1)?.value ?? NaN;
  }

  private keep(name: string, seconds: number): Kept | undefined {
    let kept = this.kept.get(name);
    if (!kept) {
      this.forgetOld();
      if (this.kept.size >= METRICS_MAX) return undefined;
      this.kept.set(name, (kept = new Kept(this.store(), name)));
    }
    kept.keep(seconds);
    return kept;
  }

  /** Of what nobody asks for any more nothing is kept. */
  forgetOld(now = Date.now()): void {
    for (const [name, kept] of this.kept) {
      if (now - kept.askedAt < FORGET_MS) continue;
      kept.forget();
      this.kept.delete(name);
    }
  }
  clear(): void {
    this.forgetOld(Infinity);
  }
}
