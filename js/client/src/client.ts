// The client of one engine: emits samples, sets and fires alerts, asks, follows the live stream.
//
//     metric ─► line or document (wire) ─► buffer ─► carrier: UDP in Node, HTTP in browsers
//
// Emitting never throws, never waits and never keeps a process alive; what is not sent is counted, see `counters`.
import { Buffer, type Datagram } from "./buffer.js";
import { Heard } from "./heard.js";
import { request, type Site } from "./http.js";
import { subscribe } from "./subscribe.js";
import { timedWith } from "./timed.js";
import type {
  AlertNowSettings, AlertSettings, ClientCounters, ClientSettings, QueryAnswer, QueryRange, RequestOptions, RuleDocument,
  SampleOptions, StreamHandlers, StreamWants, Subscription,
} from "./types.js";
import { document, frame, kindOf, member, number, refuse, type Frame } from "./wire.js";

const BUFFER_BYTES_MAX = 4 * 1024 * 1024;
const FRAMES_MAX = 16_384; // names made up per request must not grow a service
const RING_DATAGRAMS = 24; // worth sending at once, and too few to overflow a receiver's default socket buffer
const WARN_MS = 60_000;

export type Counter = keyof ClientCounters;

const DROPPED = ["dropped_invalid", "dropped_full", "dropped_unreachable", "dropped_refused", "dropped_closed"] as const;
const COUNTERS: readonly Counter[] =
  ["sent", "datagrams", "dropped", ...DROPPED, "alerts_failed", "handler_errors", "events_unread", "reconnects"];

/** How datagrams leave. */
export interface Carrier {
  readonly datagramBytes: number;
  readonly flushIntervalMs: number;
  /** False while it cannot take any: then samples wait in the buffer. */
  isReady(): boolean;
  send(datagrams: readonly Datagram[]): void;
  close(): void;
}

/** What differs between Node and browsers. */
export interface Platform {
  env(name: "HMS_OPS_HTTP" | "HMS_OPS_TOKEN"): string | undefined;
  carrier(site: Site, url: string | undefined, count: (counter: Counter, n: number) => void, flush: () => void): Carrier;
  /** A timer that keeps no process alive. */
  later(ms: number, call: () => void): void;
}

export class BaseClient {
  readonly #site: Site;
  readonly #buffer: Buffer;
  readonly #carrier: Carrier;
  readonly #counts = Object.fromEntries(COUNTERS.map((counter) => [counter, 0])) as Record<Counter, number>;
  readonly #frames = new Map<string, Frame>();
  #isTimed = false;
  #isClosed = false;
  #warnedAt = -Infinity;

  readonly #settings: ClientSettings;
  readonly #platform: Platform;

  constructor(
    settings: ClientSettings,
    platform: Platform,
  ) {
    this.#settings = settings;
    this.#platform = platform;
    const { http, token, url } = settings;
    if (http && !/^https?:\/\//.test(http)) throw new TypeError(`http is http://HOST:PORT, not ${JSON.stringify(http)}`);
    this.#site = {
      http: () => (http ?? platform.env("HMS_OPS_HTTP") ?? "").replace(/\/+$/, ""),
      token: () => token ?? platform.env("HMS_OPS_TOKEN"),
    };
    this.#carrier = platform.carrier(this.#site, url, (counter, n) => this.#count(counter, n), () => this.flush());
    this.#buffer = new Buffer(settings.bufferBytesMax ?? BUFFER_BYTES_MAX, this.#carrier.datagramBytes);
  }

  /** The address that is asked; "" is the page's own origin. */
  get http(): string {
    return this.#site.http();
  }

  /** Emit one sample. Without a kind, a name that ends in `_ms` is a timer and any other a gauge. */
  metric(name: string, value: number | string | boolean | bigint, options?: SampleOptions): void {
    try {
      this.#emit(name, value, options ?? {});
    } catch {
      this.#count("dropped_invalid");
    }
  }

  /** Add `n` to a counter. */
  increment(name: string, n = 1, options?: SampleOptions): void {
    this.metric(name, n, { ...options, kind: "counter" });
  }

  /** Say what something is now; below zero too. */
  gauge(name: string, value: number, options?: SampleOptions): void {
    this.metric(name, value, { ...options, kind: "gauge" });
  }

  /** Record a duration in milliseconds. */
  timing(name: string, ms: number, options?: SampleOptions): void {
    this.metric(name, ms, { ...options, kind: "timer" });
  }

  /** Record a value whose distribution matters. */
  histogram(name: string, value: number, options?: SampleOptions): void {
    this.metric(name, value, { ...options, kind: "histogram" });
  }

  /** Count `one` among the distinct members seen. */
  set(name: string, one: string | number, options?: SampleOptions): void {
    this.metric(name, one, { ...options, kind: "set" });
  }

  /** The function, timed: it records milliseconds under `name` each time it is called. */
  timed<This, A extends unknown[], R>(
    name: string, fn: (this: This, ...given: A) => R, options?: SampleOptions,
  ): (this: This, ...given: A) => R {
    return timedWith((metric, ms) => this.timing(metric, ms, options), name, fn);
  }

  /** Set a rule. It need not be awaited: then a failure is a warning on the console, and counted. */
  alert(name: string, rule: AlertSettings): Promise<RuleDocument> {
    return this.#told(name, async () => this.request("/v1/alerts", { body: { alert: name, ...rule, notify: listed(rule?.notify) } }));
  }

  /** Fire an alert at once; it resolves by itself after its `ttl` (5 min) without a repeat. As `alert`, no await needed. */
  alertNow(name: string, alert: AlertNowSettings = {}): Promise<{ name: string; state: "firing" }> {
    return this.#told(name, async () => this.request(`/v1/alerts/${encodeURIComponent(name)}/fire`, { body: alert }));
  }

  /** The series an expression gives over a range, or its value now without one. */
  query(expr: string, { start, end, ...steps }: QueryRange = {}): Promise<QueryAnswer> {
    return this.request("/v1/query", { parameters: { expr, start: seconds(start), end: seconds(end), ...steps } });
  }

  /** Any other document of docs/http.md. Rejects with ProblemError when the engine refuses, Unreachable when none answers. */
  async request<T>(path: string, options: RequestOptions = {}): Promise<T> {
    return request<T>(this.#site, path, options, this.#settings.timeoutMs ?? 5000);
  }

  /** Follow the live stream, until `close()`; it reconnects by itself. In Node it keeps the process alive. */
  subscribe(wants: StreamWants, handlers: StreamHandlers): Subscription {
    return subscribe(this.#site, wants, handlers, (counter) => this.#count(counter));
  }

  /** Hand over now what is buffered. */
  flush(): void {
    if (this.#buffer.bytes && this.#carrier.isReady()) this.#carrier.send(this.#buffer.take());
  }

  /** Send what is buffered and stop; what is emitted later is counted as dropped. Subscriptions have a close of their own. */
  close(): void {
    this.flush();
    this.#isClosed = true;
    this.#carrier.close();
  }

  /** Samples since the start: what was sent, and what was not and why. What the network loses, the engine's ledger knows. */
  counters(): ClientCounters {
    return { ...this.#counts, dropped: DROPPED.reduce((sum, counter) => sum + this.#counts[counter], 0) };
  }

  #emit(name: string, value: number | string | boolean | bigint, options: SampleOptions): void {
    const kind = kindOf(name, options.kind);
    const rate = options.rate ?? 1;
    if (!(number(rate) > 0 && rate <= 1)) refuse();
    const plain = kind === "set" ? member(value) : number(value);
    if (rate < 1 && Math.random() >= rate) return;
    if (options.time !== undefined || (kind === "gauge" && (plain as number) < 0)) {
      this.#add(document(name, plain, kind, options, rate), true);
      return;
    }
    const { head, tail } = this.#frame(name, kind, options, rate);
    this.#add(head + plain + tail, false);
  }

  /** The series' frame; only of series without tags is it remembered, because looking tags up costs what a frame does. */
  #frame(name: string, kind: string, { tags }: SampleOptions, rate: number): Frame {
    if (tags || rate !== 1 || typeof name !== "string") return frame(name, kind, tags, rate);
    const key = `${kind}:${name}`;
    let known = this.#frames.get(key);
    if (!known) {
      known = frame(name, kind, null, 1);
      if (this.#frames.size >= FRAMES_MAX) this.#frames.clear();
      this.#frames.set(key, known);
    }
    return known;
  }

  #add(text: string, isDocument: boolean): void {
    const refused = this.#isClosed ? "dropped_closed" : this.#buffer.add(text, isDocument);
    if (refused) this.#count(refused);
    else if (this.#buffer.datagrams >= RING_DATAGRAMS) this.flush();
    else if (!this.#isTimed) {
      this.#isTimed = true;
      this.#carrier.isReady(); // opens it: what is to be sent at a sudden exit needs a way out by then
      this.#platform.later(this.#settings.flushIntervalMs ?? this.#carrier.flushIntervalMs, () => this.#onTime());
    }
  }

  #onTime(): void {
    this.#isTimed = false;
    this.flush();
  }

  #told<T>(name: string, ask: () => Promise<T>): Promise<T> {
    const answer = ask();
    answer.catch(() => this.#count("alerts_failed"));
    return Heard.of(answer, (error) => {
      const now = Date.now();
      if (now - this.#warnedAt < WARN_MS) return; // a script may fire an alert each second
      this.#warnedAt = now;
      console.warn(`hms-ops: alert ${name}: ${error.message}`);
    });
  }

  #count(counter: Counter, n = 1): void {
    this.#counts[counter] += n;
  }
}

const listed = (one: string | readonly string[] | undefined) => (typeof one === "string" ? [one] : one);

const seconds = (time: number | Date | undefined) => (time instanceof Date ? time.getTime() / 1000 : time);

