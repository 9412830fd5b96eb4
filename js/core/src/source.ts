// Where a live store's events come from: a stream of its own, or that of another tab (shared.ts).
import type { Client, StreamEvent, StreamState, Subscription } from "@hms-ops/client";

export interface Wants {
  readonly metrics: readonly string[];
  readonly series: readonly string[];
}

export interface Sink {
  event(event: StreamEvent, id: string): void;
  state(state: StreamState, error: string | null): void;
}

export interface Source {
  /** What to bring from now on; null: nothing at all. */
  want(wants: Wants | null): void;
  close(): void;
}

export const REST_MS = 150; // a page that mounts asks for many metrics, one after the other
export const BACKFILL_SECONDS = 58; // the engine's memory has 60, and goes on while the question is on its way
const OVERLAP_MS = 1000;
const IDS_KEPT = 512;
const NAMES_CHARS_MAX = 12_000; // a request's head has 16 KiB
/** A metric nobody has: a stream that names none would bring all of them. */
const NO_METRIC = "-";

export const isSame = (a: Wants | null, b: Wants | null): boolean => JSON.stringify(a) === JSON.stringify(b);

interface Stream {
  readonly subscription: Subscription;
  state: StreamState;
}

/**
 * One stream for what is wanted. When that changes another one is opened, and the old one is closed when the new one is
 * live: what both bring is taken once, cells by their second in the rings, other events by their id here.
 */
export class Direct implements Source {
  private wanted: Wants | null = null;
  private streamed: Wants | null = null;
  private streams: Stream[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly seen = new Set<string>();
  private lastEventId = "";

  constructor(
    private readonly client: Client,
    private readonly sink: Sink,
    /** Unix second and id from which to go on, where another tab has led before. */
    from: { readonly lastEventId: string } = { lastEventId: "" },
  ) {
    this.lastEventId = from.lastEventId;
  }

  want(wants: Wants | null): void {
    this.wanted = wants;
    clearTimeout(this.timer);
    if (!isSame(wants, this.streamed)) this.timer = setTimeout(() => this.open(), REST_MS);
  }

  close(): void {
    clearTimeout(this.timer);
    this.wanted = this.streamed = null;
    for (const { subscription } of this.streams.splice(0)) subscription.close();
  }

  private open(): void {
    const old = this.streams;
    const before = this.streamed;
    this.streamed = this.wanted;
    if (!this.wanted) {
      this.close();
      return this.sink.state("connecting", null);
    }
    // What is new begins with what was before; what is not goes on where it was.
    const hasMore = !before || isMore(before, this.wanted);
    const since = hasMore ? Math.floor(Date.now() / 1000) - BACKFILL_SECONDS : undefined;
    const subscription: Subscription = this.client.subscribe({ ...named(this.wanted), since, lastEventId: this.lastEventId }, {
      event: (event, id) => this.take(event, id),
      state: (state, error) => queueMicrotask(() => this.stateOf(stream, state, error, old)),
    });
    const stream: Stream = { subscription, state: "connecting" };
    this.streams = [...old, stream];
  }

  private stateOf(stream: Stream, state: StreamState, error: Error | null, old: readonly Stream[]): void {
    if (!this.streams.includes(stream)) return;
    stream.state = state;
    if (state === "live" && old.length) setTimeout(() => this.leave(old), OVERLAP_MS);
    const isLive = this.streams.some((one) => one.state === "live");
    if (isLive) this.sink.state("live", null);
    else if (stream === this.streams.at(-1)) this.sink.state(state, error?.message ?? null);
  }

  private leave(old: readonly Stream[]): void {
    this.streams = this.streams.filter((stream) => !old.includes(stream));
    for (const { subscription } of old) subscription.close();
  }

  private take(event: StreamEvent, id: string): void {
    if (event.type !== "cells" && event.type !== "gap") {
      const key = id.slice(id.indexOf(".")); // the sequence and the engine's run: the second is that of the stream
      if (this.seen.has(key)) return;
      this.seen.add(key);
      if (this.seen.size > IDS_KEPT) this.seen.delete(this.seen.values().next().value as string);
    }
    this.lastEventId = id;
    this.sink.event(event, id);
  }
}

/** Whether `after` asks for something that `before` did not. */
function isMore(before: Wants, after: Wants): boolean {
  const has = (names: readonly string[], old: readonly string[]) => names.some((name) => !old.includes(name));
  return has(after.metrics, before.metrics) || has(after.series, before.series);
}

/** The names as the stream is asked for them; too many for a request's head become "all". */
function named({ metrics, series }: Wants): Wants {
  if (!metrics.length && !series.length) return { metrics: [NO_METRIC], series };
  const chars = [...metrics, ...series].reduce((sum, name) => sum + encodeURIComponent(name).length + 8, 0);
  return chars > NAMES_CHARS_MAX ? { metrics: ["*"], series: series.slice(0, 200) } : { metrics, series };
}
