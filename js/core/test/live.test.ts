import { Client, type Cell } from "@hms-ops/client";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { cellsOf, event, json, serving, until, type Serving } from "../../client/test/serving.js";
import { createLive, type Live } from "../src/index.js";
import { tagsText } from "../src/room.js";

let server: Serving;
let client: Client;
let live: Live;

beforeEach(async () => {
  server = await serving();
  client = new Client({ url: "udp://127.0.0.1:9", http: server.url });
  live = createLive(client, { shared: false });
});

afterEach(async () => {
  live.close();
  await server.close();
});

const nothing = (): void => undefined;
const paths = (): string[] => server.asked.map(({ path }) => decodeURIComponent(path));
const streamed = (): string[] => paths().filter((path) => path.startsWith("/v1/stream")).map((path) => path.replace(/&?(since|last_event_id)=[^&]+/g, ""));
const send = (...events: string[]): void => server.streams.forEach((stream) => stream.write(events.join("")));
const second = (time: number, values: Record<string, number>): string => event("cells", `${time}.1.e`, cellsOf(time, values));
const values = (cells: readonly Cell[]): (number | null)[] => cells.map(({ value }) => value);

async function following(): Promise<void> {
  await until("one stream", () => server.streams.length === 1 && live.state().connection === "live");
}

it("opens no stream before something is wanted", async () => {
  await new Promise((done) => setTimeout(done, 300));
  expect(server.asked).toEqual([]);
  expect(live.state()).toEqual({ connection: "connecting", second: null, receivedAt: 0, gaps: 0, error: null });
});

it("asks once for what a page wants in one go, with what was before", async () => {
  live.watch("a.ms", nothing);
  live.watch("b*", nothing);
  live.watchSeries("c", nothing);
  await following();
  expect(streamed()).toEqual(["/v1/stream?metric=a.ms&metric=b*&series=c"]);
  const since = Number(/since=(\d+)/.exec(paths()[0]!)![1]);
  expect(Math.abs(Date.now() / 1000 - 60 - since)).toBeLessThan(10);
});

it("keeps cells, and shows the same array until one comes", async () => {
  let told = 0;
  live.watch("a.ms", () => told++);
  expect(live.cells("a.ms")).toBe(live.cells("a.ms"));
  await following();
  send(second(100, { "a.ms": 1 }), second(101, { "a.ms": 2 }));
  await until("two seconds", () => live.cells("a.ms").length === 2);
  const shown = live.cells("a.ms");
  expect(values(shown)).toEqual([1, 2]);
  expect(told).toBe(2);
  send(second(102, {}));
  await until("the next second", () => live.state().second === 102);
  expect(live.cells("a.ms")).toBe(shown);
  expect(told).toBe(2);
  send(second(103, { "a.ms": 3 }));
  await until("a third", () => live.cells("a.ms").length === 3);
  expect(live.cells("a.ms")).not.toBe(shown);
  expect(shown).toHaveLength(2);
});

it("takes each second once, in its place, and forgets what is old", async () => {
  live.watch("a", nothing, { seconds: 100 });
  await following();
  send(second(100, { a: 1 }), second(100, { a: 9 }), second(103, { a: 3 }), second(102, { a: 2 }), second(102, { a: 9 }));
  await until("three", () => live.cells("a").length === 3);
  expect(values(live.cells("a"))).toEqual([1, 2, 3]);
  send(second(202, { a: 4 }));
  await until("forgotten", () => live.cells("a").length === 2);
  expect(values(live.cells("a"))).toEqual([3, 4]);
});

it("forgets a metric that has ended, by the seconds of the stream; a gauge holds for five minutes, as in the engine", async () => {
  let told = 0;
  live.watch("a.ms", () => told++);
  live.watch("b", nothing);
  await following();
  const cell = (metric: string, kind: string) => ({ metric, tags: null, kind, value: 7, count: 1, sum: 7, min: 7, max: 7, last: 7 });
  send(event("cells", "100.1.e", { time: 100, cells: [cell("a.ms", "timer"), cell("b", "gauge")], left_out: 0 }));
  await until("both", () => told === 1 && live.cells("b").length === 1);
  send(second(159, {}));
  await until("a minute", () => live.state().second === 159);
  expect(values(live.cells("a.ms"))).toEqual([7]);
  send(second(160, {}));
  await until("the timer's end is told", () => told === 2);
  expect(live.cells("a.ms")).toEqual([]);
  expect(values(live.cells("b"))).toEqual([7]);
  send(second(400, {}));
  await until("the gauge's end", () => live.cells("b").length === 0);
});

it("keeps series apart by their tags", async () => {
  live.watchSeries("a", nothing);
  await following();
  const cell = (tags: object, value: number) => ({ metric: "a", tags, kind: "gauge", value, count: 1, sum: value, min: value, max: value, last: value });
  send(event("cells", "5.1.e", { time: 5, cells: [cell({}, 1), cell({ b: "2", a: '1"' }, 2)], left_out: 0 }));
  await until("both", () => live.seriesCells("a").size === 2);
  expect([...live.seriesCells("a")].map(([tags, cells]) => [tags, values(cells)])).toEqual([["{}", [1]], ['{a="1\\"",b="2"}', [2]]]);
  expect(live.seriesCells("a")).toBe(live.seriesCells("a"));
  expect(live.cells("a")).toEqual([]);
});

it("writes tags in one way", () => {
  expect([null, {}, { b: "x", a: "y" }].map(tagsText)).toEqual(["{}", "{}", '{a="y",b="x"}']);
});

it("opens another stream for more, and takes what both bring once", async () => {
  live.watch("a", nothing);
  await following();
  send(second(100, { a: 1 }));
  const events: unknown[] = [];
  live.watchEvents((one) => events.push(one));
  live.watch("b", nothing);
  await until("both streams", () => server.streams.length === 2);
  send(second(101, { a: 2, b: 1 }), event("alert", "101.2.e", { name: "x", change: "firing", time: 101 }));
  await until("the old one is left", () => server.streams.length === 1);
  send(second(102, { a: 3, b: 2 }));
  await until("the next second", () => live.state().second === 102);
  expect(streamed()).toEqual(["/v1/stream?metric=a", "/v1/stream?metric=a&metric=b"]);
  expect([values(live.cells("a")), values(live.cells("b"))]).toEqual([[1, 2, 3], [1, 2]]);
  expect(events).toEqual([{ type: "alert", name: "x", change: "firing", time: 101 }]);
  expect(live.state().connection).toBe("live");
});

it("wants a metric for five seconds more, and then goes on without it after the last event", async () => {
  const end = live.watch("a", nothing);
  live.watch("b", nothing);
  await following();
  send(second(100, { a: 1, b: 1 }));
  await until("a second", () => live.state().second === 100);
  end();
  const again = live.watch("a", nothing);
  await new Promise((done) => setTimeout(done, 5500));
  expect(streamed()).toHaveLength(1);
  again();
  await until("another stream", () => streamed().length === 2);
  expect(streamed()[1]).toBe("/v1/stream?metric=b");
  expect(server.asked.at(-1)!.path).toBe("/v1/stream?metric=b&last_event_id=100.1.e");
  expect(live.cells("a")).toEqual([]);
});

it("brings events alone where no metric is wanted", async () => {
  live.watchState(nothing);
  await following();
  expect(streamed()).toEqual(["/v1/stream?metric=-"]);
});

it("asks for all metrics where their names would not fit into a request", async () => {
  for (let n = 0; n < 800; n++) live.watch(`a.metric.with.a.name.${n}`, nothing);
  await following();
  expect(streamed()).toEqual(["/v1/stream?metric=*"]);
  send(second(100, { "a.metric.with.a.name.7": 7, "one.that.nobody.wants": 1 }));
  await until("it", () => live.cells("a.metric.with.a.name.7").length);
  expect(live.cells("one.that.nobody.wants")).toEqual([]);
});

it("has patterns, each metric by its own name", async () => {
  let told = 0;
  live.watch("fin*", () => told++);
  await following();
  send(second(100, { "fin.a": 1, "fin.b": 2, other: 3 }));
  await until("told", () => told);
  expect([live.cells("fin.a"), live.cells("fin.b"), live.cells("other")].map(values)).toEqual([[1], [2], []]);
});

it("stands still while it is paused, and goes on with what came meanwhile", async () => {
  let told = 0;
  live.watch("a", () => told++);
  await following();
  send(second(100, { a: 1 }));
  await until("one", () => live.cells("a").length === 1);
  live.pause();
  const shown = live.cells("a");
  send(second(101, { a: 2 }));
  await until("the next second", () => live.state().second === 101);
  expect([live.cells("a") === shown, told]).toEqual([true, 1]);
  live.resume();
  expect([values(live.cells("a")), told]).toEqual([[1, 2], 2]);
});

it("reads the alerts at first and again after an event, and is told only of what changed", async () => {
  let answer: object = { alerts: [], rules: [{ alert: "slow" }] };
  server.answer = (_, response) => json(response, 200, answer);
  let told = 0;
  expect(live.alerts()).toEqual({ alerts: [], rules: [], at: null });
  live.watchAlerts(() => told++);
  await until("the rules", () => live.alerts().rules.length === 1);
  await following();
  const read = (): number => paths().filter((path) => path === "/v1/alerts").length;
  await until("read again when live", () => read() === 2);
  expect(told).toBe(1);
  answer = { alerts: [{ name: "slow", state: "firing" }], rules: [{ alert: "slow" }] };
  send(event("alert", "5.2.e", { name: "slow", change: "firing", time: 5 }), event("alert", "5.3.e", { name: "slow", change: "acknowledged", time: 5 }));
  await until("the alert", () => live.alerts().alerts.length === 1);
  expect([told, read()]).toEqual([2, 3]);
});

it("counts gaps, passes them on, and says why it is not live", async () => {
  const events: string[] = [];
  live.watchEvents(({ type }) => events.push(type));
  await following();
  send(event("gap", "5.2.e", { time: 5, from: 1, to: 5, reason: "slow", cells_lost: 1, events_lost: 0 }), event("anomaly", "5.3.e", { name: "x", time: 5 }));
  await until("both", () => events.length === 2);
  expect([live.state().gaps, events]).toEqual([1, ["gap", "anomaly"]]);
  server.opens = false;
  server.answer = (_, response) => json(response, 503, { type: "", title: "", status: 503, detail: "busy" });
  server.streams[0]!.end();
  await until("it is told", () => live.state().connection === "reconnecting" && live.state().error === "HTTP 503: busy");
});

it("goes on when a watcher throws or rejects", async () => {
  const log = vi.spyOn(console, "error").mockImplementation(nothing);
  live.watch("a", () => { throw new Error("mine"); });
  live.watch("a", async () => { throw new Error("mine later"); }); // unhandled it would end the process
  live.watchEvents(async () => { throw new Error("mine too"); });
  let told = 0;
  live.watch("a", () => told++);
  await following();
  send(second(100, { a: 1 }), event("gap", "101.1.e", { time: 101, from: 1, to: 2, reason: "slow" }));
  await until("all are logged", () => log.mock.calls.length === 3);
  expect(told).toBe(1);
  log.mockRestore();
});

it("begins anew when the engine's clock was set back", async () => {
  live.watch("a", nothing);
  await following();
  send(second(10_000, { a: 1 }), second(5000, { a: 2 }));
  await until("the earlier second", () => live.state().second === 5000);
  expect(values(live.cells("a"))).toEqual([2]);
});

it("is over once it is closed", async () => {
  live.watch("a", nothing);
  await following();
  live.close();
  live.close();
  await until("no stream", () => !server.streams.length);
  expect(live.state().connection).toBe("closed");
  live.watch("b", nothing);
  await new Promise((done) => setTimeout(done, 300));
  expect(streamed()).toHaveLength(1);
});
