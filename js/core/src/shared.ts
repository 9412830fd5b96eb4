// One stream for all tabs of a browser: HTTP/1.1 allows six connections to a host, and a stream holds one for good.
//
// The tab that holds a Web Lock leads: it opens the stream for what all tabs want, and passes on what comes over a
// BroadcastChannel. The lock goes to the next tab when the leader's closes, and that one goes on after the last event.
// A leader that is not heard of for TAKE_OVER_MS (a tab that the browser has frozen) loses its lock.
import type { Client, StreamEvent, StreamState } from "@hms-ops/client";
import { Direct, isSame, type Sink, type Source, type Wants } from "./source.js";

type Message =
  | { readonly type: "hello" }
  | { readonly type: "wants"; readonly from: string; readonly wants: Wants | null; readonly isNew: boolean }
  | { readonly type: "event"; readonly event: StreamEvent; readonly id: string }
  | { readonly type: "past"; readonly to: string; readonly events: readonly (readonly [StreamEvent, string])[] }
  | { readonly type: "state"; readonly state: StreamState; readonly error: string | null };

const ALIVE_MS = 5000;
const TAKE_OVER_MS = 90_000; // browsers wake a hidden tab's timers once a minute
const WANTS_KEPT_MS = 180_000;
const PAST_SECONDS = 60;

export const canShare = (): boolean =>
  typeof BroadcastChannel === "function" && typeof globalThis.navigator?.locks?.request === "function";

export class Shared implements Source {
  private readonly id = Math.random().toString(36).slice(2);
  private readonly name: string;
  private readonly channel: BroadcastChannel;
  private readonly others = new Map<string, { readonly wants: Wants | null; readonly at: number }>();
  private readonly past: [StreamEvent, string][] = []; // the newest cells, for tabs that come later
  private readonly ending = new AbortController();
  private readonly timer: ReturnType<typeof setInterval>;
  private own: Wants | null = null;
  private direct: Direct | null = null;
  private told: { state: StreamState; error: string | null } = { state: "connecting", error: null };
  private lastEventId = "";
  private heardAt = Date.now();

  constructor(
    private readonly client: Client,
    private readonly sink: Sink,
  ) {
    this.name = `hms-ops:${client.http}`;
    this.channel = new BroadcastChannel(this.name);
    this.channel.onmessage = ({ data }) => this.hear(data as Message);
    this.timer = setInterval(() => this.beat(), ALIVE_MS);
    globalThis.addEventListener?.("pagehide", this.leave);
    this.candidate(false);
  }

  want(wants: Wants | null): void {
    if (isSame(wants, this.own)) return;
    this.own = wants;
    if (this.direct) this.direct.want(this.union());
    else this.say({ type: "wants", from: this.id, wants, isNew: true });
  }

  close(): void {
    if (this.ending.signal.aborted) return;
    clearInterval(this.timer);
    globalThis.removeEventListener?.("pagehide", this.leave);
    this.leave();
    this.ending.abort();
    this.resign();
    this.channel.close();
  }

  private readonly leave = (): void => this.say({ type: "wants", from: this.id, wants: null, isNew: false });

  /** Wait for the lock; then lead until this store closes, or the lock is stolen. */
  private candidate(steal: boolean): void {
    const held = () => {
      this.lead();
      return new Promise<void>((done) => this.ending.signal.addEventListener("abort", () => done()));
    };
    const options = steal ? { steal } : { signal: this.ending.signal };
    navigator.locks.request(this.name, options, held).catch(() => {
      if (this.ending.signal.aborted) return;
      this.resign(); // stolen, by a tab that has not heard of this one
      this.candidate(false);
    });
  }

  private lead(): void {
    if (this.ending.signal.aborted) return;
    const take = (event: StreamEvent, id: string): void => {
      this.say({ type: "event", event, id });
      this.take(event, id);
    };
    const state = (state: StreamState, error: string | null): void => {
      this.say({ type: "state", state, error });
      this.takeState(state, error);
    };
    this.direct = new Direct(this.client, { event: take, state }, { lastEventId: this.lastEventId });
    this.direct.want(this.union());
    this.say({ type: "hello" });
  }

  private resign(): void {
    this.direct?.close();
    this.direct = null;
  }

  private hear(message: Message): void {
    if (message.type === "wants") return this.hearWants(message);
    if (this.direct) return; // what another leader says is not for this one
    this.heardAt = Date.now();
    if (message.type === "hello") this.say({ type: "wants", from: this.id, wants: this.own, isNew: true });
    else if (message.type === "event") this.take(message.event, message.id);
    else if (message.type === "state") this.takeState(message.state, message.error);
    else if (message.to === this.id) for (const [event, id] of message.events) this.sink.event(event, id);
  }

  private hearWants({ from, wants, isNew }: Message & { type: "wants" }): void {
    if (wants) this.others.set(from, { wants, at: Date.now() });
    else this.others.delete(from);
    if (!this.direct) return;
    this.direct.want(this.union());
    if (!isNew) return;
    this.say({ type: "past", to: from, events: this.past });
    this.say({ type: "state", ...this.told });
  }

  private take(event: StreamEvent, id: string): void {
    this.lastEventId = id;
    if (event.type === "cells") {
      this.past.push([event, id]);
      if (this.past.length > PAST_SECONDS) this.past.shift();
    }
    this.sink.event(event, id);
  }

  private takeState(state: StreamState, error: string | null): void {
    const isNews = state !== this.told.state || error !== this.told.error;
    this.told = { state, error };
    if (isNews) this.sink.state(state, error);
  }

  /** The leader says that it is there, the others what they want; one that hears nothing takes over. */
  private beat(): void {
    if (this.direct) {
      this.say({ type: "state", ...this.told });
      for (const [from, { at }] of this.others) if (Date.now() - at > WANTS_KEPT_MS) this.others.delete(from);
      this.direct.want(this.union());
    } else {
      this.say({ type: "wants", from: this.id, wants: this.own, isNew: false });
      if (Date.now() - this.heardAt > TAKE_OVER_MS) {
        this.heardAt = Date.now();
        this.candidate(true);
      }
    }
  }

  private union(): Wants | null {
    const all = [this.own, ...[...this.others.values()].map((one) => one.wants)].filter((wants) => wants !== null);
    if (!all.length) return null;
    const merged = (key: keyof Wants) => [...new Set(all.flatMap((wants) => wants[key]))].sort();
    return { metrics: merged("metrics"), series: merged("series") };
  }

  private say(message: Message): void {
    if (!this.ending.signal.aborted) this.channel.postMessage(message);
  }
}
