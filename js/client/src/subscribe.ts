// The live stream: fetch, an SSE parser, and a connection that comes back.
//
//     connecting ─► live ─► (ends, 30 s of silence, refused) ─► reconnecting ─► live …    close() ─► closed
//
// It goes on after the last event it had (`last_event_id`: as the header Last-Event-ID, but beside a `since` of its own). Waits double from what the server says (`retry:`) to 30 s, with
// jitter, so that a wall of screens does not come back in one second; Retry-After is obeyed; a refusal that another
// attempt will hardly change (401, 403, 400 …) is tried again every 30 s, because a token or an engine may be put right.
import { Unreachable, ask, reached, type ProblemError, type Site } from "./http.js";
import { sseParser, type Message } from "./sse.js";
import type { CellsEvent, StreamEvent, StreamHandlers, StreamState, StreamWants, Subscription } from "./types.js";

export const SILENCE_MS = 30_000;
export const WAIT_MS_MAX = 30_000;
const HEAD_MS = 10_000;

export type Count = (counter: "handler_errors" | "events_unread" | "reconnects") => void;

export function subscribe(site: Site, wants: StreamWants, handlers: StreamHandlers, count: Count): Subscription {
  let lastEventId = wants.lastEventId ?? "";
  let retryMs = 1000;
  let failures = 0;
  let isClosed = false;
  let connection = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;

  /** At once, up to the handler's own first await; one that rejects ends no process either. */
  async function call<A extends unknown[]>(handler: ((...given: A) => void) | undefined, ...given: A): Promise<void> {
    try {
      await handler?.(...given);
    } catch {
      count("handler_errors");
    }
  }

  const tell = (state: StreamState, error: Error | null = null): unknown => call(handlers.state, state, error);

  function watch(ms: number): void {
    clearTimeout(timer);
    const watched = connection;
    timer = setTimeout(() => watched.abort(new Unreachable(`the stream was silent for ${ms / 1000} s`)), ms);
  }

  function take(message: Message): void {
    if (isClosed) return;
    lastEventId = message.id;
    failures = 0;
    const event = eventOf(message);
    if (!event) return count("events_unread");
    void call(handlers.event, event, message.id);
    void call(handlers[event.type] as (event: StreamEvent, id: string) => void, event, message.id);
  }

  async function read(): Promise<void> {
    watch(HEAD_MS);
    const { metrics: metric, series, events, since } = wants;
    const isFresh = lastEventId === (wants.lastEventId ?? ""); // nothing has come yet
    const parameters = {
      metric, series, events: events?.join(), since: isFresh ? since : undefined, last_event_id: lastEventId || undefined,
    };
    const init = { headers: { Accept: "text/event-stream" }, signal: connection.signal };
    const response = await ask(site, "/v1/stream", init, parameters);
    tell("live");
    const parse = sseParser(take, (ms) => (retryMs = Math.min(ms, WAIT_MS_MAX)), lastEventId);
    const reader = response.body!.getReader();
    const decoder = new TextDecoder();
    for (;;) {
      watch(SILENCE_MS);
      const { done, value } = await reached(site, init, reader.read());
      if (done) throw new Unreachable("the engine ended the stream");
      parse(decoder.decode(value, { stream: true }));
    }
  }

  async function run(): Promise<void> {
    tell("connecting");
    while (!isClosed) {
      connection = new AbortController();
      const error = await read().catch((caught: Error) => (connection.signal.reason as Error) ?? caught);
      connection.abort(); // a reader that failed half-way lets its connection go
      clearTimeout(timer);
      if (isClosed) return;
      count("reconnects");
      tell("reconnecting", error as Error);
      const ms = waitMs(error as Error, retryMs, failures++);
      await new Promise<void>((resolve) => {
        timer = setTimeout(resolve, ms);
        connection = new AbortController();
        connection.signal.onabort = () => resolve();
      });
    }
  }

  void run();
  return {
    get lastEventId() {
      return lastEventId;
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      clearTimeout(timer);
      connection.abort();
      tell("closed");
    },
  };
}

/** How long to wait before the next attempt. */
export function waitMs(error: Error, retryMs: number, failures: number, random: () => number = Math.random): number {
  const { status, retryAfter } = error as Partial<ProblemError>;
  const isLasting = /^4(?!08|29)/.test(`${status}`);
  const ms = isLasting ? WAIT_MS_MAX : Math.min(WAIT_MS_MAX, retryMs * 2 ** failures);
  return Math.max(ms * (0.5 + random() / 2), (retryAfter || 0) * 1000 * (1 + random() / 4));
}

const TYPES = new Set(["cells", "alert", "anomaly", "action", "gap"]);

/** The event a message is; undefined for what this client does not know. */
function eventOf({ event: type, data }: Message): StreamEvent | undefined {
  if (!TYPES.has(type)) return undefined;
  try {
    const event = { ...(JSON.parse(data) as object), type } as StreamEvent;
    if (type !== "cells") return event;
    const { time, cells } = event as CellsEvent;
    return { ...(event as CellsEvent), cells: cells.map((cell) => ({ ...cell, time })) };
  } catch {
    return undefined;
  }
}
