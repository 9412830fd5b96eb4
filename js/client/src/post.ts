// Samples from a browser: POST /v1/ingest, one body after the other, each of at most 48 KiB, because a browser lets only
// 64 KiB outlive a page. What fails is counted and not sent again: the engine stamps samples when they arrive, and a
// minute-old one would count as new. When the page is hidden, what waits is handed over to outlive it.
import type { Datagram } from "./buffer.js";
import type { Carrier, Counter, Platform } from "./client.js";
import { ProblemError, ask, bearer, type Site } from "./http.js";

const BODY_BYTES = 48 * 1024;

export class Post implements Carrier {
  readonly datagramBytes = BODY_BYTES;
  readonly flushIntervalMs = 1000;
  #isSending = false;
  #isLeaving = false;
  readonly #leave = (): void => {
    this.#isLeaving = true;
    this.#flush();
    this.#isLeaving = false;
  };

  readonly #site: Site;
  readonly #count: (counter: Counter, n: number) => void;
  readonly #flush: () => void;

  constructor(
    site: Site,
    count: (counter: Counter, n: number) => void,
    flush: () => void,
  ) {
    this.#site = site;
    this.#count = count;
    this.#flush = flush;
    globalThis.addEventListener?.("pagehide", this.#leave);
    // The last event that a page on a phone is sure to get.
    globalThis.document?.addEventListener("visibilitychange", this.#hide);
  }

  readonly #hide = (): void => {
    if (document.visibilityState === "hidden") this.#leave();
  };

  isReady(): boolean {
    return this.#isLeaving || !this.#isSending;
  }

  send(datagrams: readonly Datagram[]): void {
    if (this.#isLeaving) datagrams.forEach((one) => this.#hand(one));
    else void this.#post(datagrams);
  }

  close(): void {
    globalThis.removeEventListener?.("pagehide", this.#leave);
    globalThis.document?.removeEventListener("visibilitychange", this.#hide);
  }

  async #post(datagrams: readonly Datagram[]): Promise<void> {
    this.#isSending = true;
    for (const one of datagrams) await this.#postOne(one, true);
    this.#isSending = false;
    this.#flush();
  }

  async #postOne({ text, samples }: Datagram, keepalive: boolean): Promise<void> {
    try {
      const init = { method: "POST", body: text, keepalive, signal: AbortSignal.timeout(10_000) };
      await ask(this.#site, "/v1/ingest", init);
      this.#count("sent", samples);
      this.#count("datagrams", 1);
    } catch (error) {
      this.#count(error instanceof ProblemError ? "dropped_refused" : "dropped_unreachable", samples);
    }
  }

  /** Without waiting: a beacon, or where a token must be shown a request that outlives the page. */
  #hand(one: Datagram): void {
    if (bearer(this.#site).Authorization || !globalThis.navigator?.sendBeacon) return void this.#postOne(one, true);
    const isTaken = navigator.sendBeacon(`${this.#site.http()}/v1/ingest`, one.text);
    this.#count(isTaken ? "sent" : "dropped_full", one.samples);
  }
}

export const browser: Platform = {
  env: () => undefined,
  carrier: (site, _url, count, flush) => new Post(site, count, flush),
  later: (ms, call) => void setTimeout(call, ms),
};
