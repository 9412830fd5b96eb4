// metric.mean: what a metric's mean over a window is, at once, from cells that are kept here.
//
// The first time a metric is asked for, its cells begin to be kept, as long as the window is; what was before comes from
// the engine's history, as sums and counts by 10 s. A metric that is not asked for in FORGET_MS is forgotten.
//
//     ├── history, 10-s steps ──┼── cells, by the second ──┤ newest second
import { ProblemError, type Cell } from "@hms-ops/client";
import type { Store } from "./live.js";
import { BACKFILL_SECONDS } from "./source.js";

const FORGET_MS = 300_000;
const METRICS_MAX = 1000;
const WINDOW_SECONDS_MAX = 3600;
const STEP_SECONDS = 10;
const SETTLE_MS = 200; // a stream begins with the minute before, second by second
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

/** A metric nobody has sent yet, or one whose kind has no sum, has no history. */
function noneIfUnknown(error: unknown): undefined {
  if (!(error instanceof ProblemError && (error.status === 404 || error.status === 400))) throw error;
}

/** A step of history: from `time` to before `end`. */
interface Step {
  readonly time: number;
  readonly end: number;
  readonly count: number;
  readonly sum: number;
}

class Kept {
  seconds = 0;
  askedAt = Date.now();
  private steps: readonly Step[] = [];
  /** What history has answered: how many seconds back, to before which second, in steps of which length. */
  private answered = { seconds: 0, until: 0, step: STEP_SECONDS };
  private end: (() => void) | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isOver = false;

  constructor(
    private readonly store: Store,
    private readonly name: string,
  ) {}

  /** Keep so many seconds from now on. */
  keep(seconds: number): void {
    this.askedAt = Date.now();
    if (seconds <= this.seconds) return this.fill();
    this.seconds = seconds;
    const before = this.end;
    this.end = this.store.watch(this.name, () => this.fill(), { seconds });
    before?.();
    this.fill();
  }

  forget(): void {
    this.isOver = true;
    clearTimeout(this.timer);
    this.end?.();
  }

  /** Weighted: the sum of all samples by their count. */
  mean(seconds: number): number {
    const cells = this.store.current(this.name);
    const second = this.store.state().second;
    if (second === null || this.answered.seconds < seconds) return NaN;
    const from = second - seconds;
    const first = cells[0]?.time ?? Infinity;
    // Where steps end and cells begin: at the end of the step the first cell is in, if that step was over when it was asked
    // for; else nothing came before that cell, since a stream begins with the minute before.
    const whole = Math.ceil(first / this.answered.step) * this.answered.step;
    const seam = whole <= this.answered.until ? whole : first;
    let sum = 0;
    let count = 0;
    const add = (one: Step | Cell): void => {
      sum += one.sum;
      count += one.count;
    };
    for (const cell of cells) if (cell.time > from && cell.time >= seam) add(cell);
    for (const step of this.steps) if (step.end > from && step.end <= seam) add(step);
    return sum / count; // NaN without samples
  }

  /** Ask for what was before, once the stream has said which second is the newest. */
  private fill(): void {
    if (this.answered.seconds >= this.seconds || this.timer !== undefined || this.isOver || this.store.state().second === null) return;
    this.timer = setTimeout(() => void this.ask(), SETTLE_MS);
  }

  private async ask(): Promise<void> {
    const { seconds } = this;
    const second = this.store.state().second as number;
    await this.askFor(second, seconds).catch(() => undefined); // the stream's state says what is wrong
    const isDone = this.answered.seconds >= this.seconds;
    this.timer = isDone || this.isOver ? undefined : setTimeout(() => void this.ask(), AGAIN_MS);
  }

  private async askFor(second: number, seconds: number): Promise<void> {
    const start = Math.ceil((second - seconds) / STEP_SECONDS) * STEP_SECONDS;
    const range = { start, end: second, step: STEP_SECONDS };
    const ask = (aggregate: string) => this.store.client.query(`${aggregate}(${JSON.stringify(this.name)})`, range);
    const needsNone = seconds <= BACKFILL_SECONDS;
    const answers = needsNone ? undefined : await Promise.all([ask("sum"), ask("count")]).catch(noneIfUnknown);
    const step = answers?.[0].step ?? STEP_SECONDS;
    const counted = new Map(answers?.[1].series[0]?.points);
    const sums = answers?.[0].series[0]?.points ?? [];
    this.steps = sums.map(([time, sum]) => ({ time, end: time + step, sum: sum ?? 0, count: counted.get(time) ?? 0 }));
    this.answered = { seconds, until: second, step };
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
