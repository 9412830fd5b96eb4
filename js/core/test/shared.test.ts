// Tabs of one browser: stores in one process, with Node's BroadcastChannel and locks as a browser grants them.
import { Client } from "@hms-ops/client";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { cellsOf, event, json, serving, until, type Serving } from "../../client/test/serving.js";
import { createLive, type Live } from "../src/index.js";

type Held = () => Promise<unknown>;

/** Web Locks: one holder of a name, the others wait in line; `steal` ends the holder's. */
class Locks {
  private waiting: { grant: () => void; lose: (error: Error) => void }[] = [];

  request(_name: string, options: { signal?: AbortSignal; steal?: boolean }, held: Held): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const lose = (error: Error): void => (this.leave(entry), reject(error));
      const entry = { grant: () => void held().then(resolve).finally(() => this.leave(entry)), lose };
      options.signal?.addEventListener("abort", () => lose(new DOMException("", "AbortError")));
      if (options.steal) {
        const robbed = this.waiting[0];
        this.waiting.splice(0, 1, entry);
        entry.grant();
        robbed?.lose(new DOMException("", "AbortError"));
      } else if (this.waiting.push(entry) === 1) entry.grant();
    });
  }

  private leave(entry: (typeof this.waiting)[0]): void {
    const wasFirst = this.waiting[0] === entry;
    this.waiting = this.waiting.filter((one) => one !== entry);
    if (wasFirst) this.waiting[0]?.grant();
  }
}

let server: Serving;
let locks: Locks;
let tabs: Live[];
const nothing = (): void => undefined;

beforeEach(async () => {
  server = await serving();
  locks = new Locks();
  tabs = [];
  vi.stubGlobal("navigator", { locks });
});

afterEach(async () => {
  tabs.forEach((live) => live.close());
  vi.useRealTimers();
  vi.unstubAllGlobals();
  await server.close();
});

function tab(): Live {
  const live = createLive(new Client({ url: "udp://127.0.0.1:9", http: server.url }));
  tabs.push(live);
  return live;
}

const send = (...events: string[]): void => server.streams.forEach((stream) => stream.write(events.join("")));
const second = (time: number, values: Record<string, number>): string => event("cells", `${time}.1.e`, cellsOf(time, values));
const values = (live: Live, metric: string): (number | null)[] => live.cells(metric).map(({ value }) => value);
const metrics = (): string[] => new URL(server.asked.at(-1)!.path, server.url).searchParams.getAll("metric");
const streams = (): number => server.asked.filter(({ path }) => path.startsWith("/v1/stream")).length;

it("is one stream for what all tabs want", async () => {
  const [one, two] = [tab(), tab()];
  one.watch("a", nothing);
  two.watch("b", nothing);
  await until("one stream of both", () => server.streams.length === 1 && metrics().join() === "a,b");
  const alerts: string[] = [];
  two.watchEvents((event) => alerts.push(event.type));
  send(second(100, { a: 1, b: 2 }), event("alert", "100.2.e", { name: "x", change: "firing", time: 100 }));
  await until("both have their cells", () => values(one, "a").length === 1 && values(two, "b").length === 1);
  await until("the alert", () => alerts.join() === "alert");
  expect(values(one, "b")).toEqual([]);
  expect([one.state().connection, two.state().connection]).toEqual(["live", "live"]);
});

it("shows a tab that comes later what was before", async () => {
  const one = tab();
  one.watch("a", nothing);
  await until("a stream", () => server.streams.length === 1);
  send(...Array.from({ length: 5 }, (_, n) => second(100 + n, { a: n })));
  await until("five", () => values(one, "a").length === 5);
  const two = tab();
  two.watch("a", nothing);
  await until("five there too", () => values(two, "a").length === 5);
  expect([two.state().connection, two.state().second]).toEqual(["live", 104]);
  await new Promise((done) => setTimeout(done, 300));
  expect(streams()).toBe(1);
});

it("goes on in another tab when the leader's closes", async () => {
  const [one, two] = [tab(), tab()];
  one.watch("a", nothing);
  two.watch("b", nothing);
  await until("one stream of both", () => server.streams.length === 1 && metrics().join() === "a,b");
  send(second(100, { a: 1, b: 2 }));
  await until("a cell", () => values(two, "b").length === 1);
  one.close();
  await until("a stream of the second tab", () => server.streams.length === 1 && metrics().join() === "b");
  expect(server.asked.at(-1)!.path).toContain("last_event_id=100.1.e");
  send(second(100, { b: 9 }), second(101, { b: 3 }));
  await until("it goes on", () => values(two, "b").join() === "2,3");
});

it("wants no more what a tab wanted that is closed", async () => {
  const [one, two] = [tab(), tab()];
  one.watch("a", nothing);
  two.watch("b", nothing);
  await until("one stream of both", () => server.streams.length === 1 && metrics().join() === "a,b");
  two.close();
  await until("one stream of one", () => metrics().join() === "a");
});

it("tells all tabs why it is not live", async () => {
  server.opens = false;
  server.answer = (_, response) => json(response, 503, { type: "", title: "", status: 503, detail: "busy" });
  const [one, two] = [tab(), tab()];
  one.watchState(nothing);
  two.watchState(nothing);
  await until("both know", () => tabs.every((live) => live.state().error === "HTTP 503: busy"));
});

it("takes over from a leader that says nothing", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"] });
  let robbed = false;
  void locks.request("hms-ops", {}, () => new Promise(() => undefined)).catch(() => (robbed = true)); // a frozen tab
  const one = tab();
  one.watch("a", nothing);
  vi.advanceTimersByTime(80_000);
  expect(streams()).toBe(0);
  vi.advanceTimersByTime(20_000);
  await until("a stream", () => server.streams.length === 1);
  expect([robbed, metrics()]).toEqual([true, ["a"]]);
});

it("is a stream of its own where a browser has no locks, or it is asked for", async () => {
  const own = createLive(new Client({ url: "udp://127.0.0.1:9", http: server.url }), { shared: false });
  tabs.push(own);
  own.watch("a", nothing);
  vi.stubGlobal("navigator", {});
  tab().watch("a", nothing);
  await until("two streams", () => server.streams.length === 2);
});
