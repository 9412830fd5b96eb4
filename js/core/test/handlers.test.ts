import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { cellsOf, event, json, serving, until, type Serving } from "../../client/test/serving.js";
import { close, counters, metric, onAlert, onMetric, ops } from "../src/index.js";
import { secondsOf } from "../src/windows.js";

let server: Serving;

beforeEach(async () => {
  server = await serving();
  vi.stubEnv("HMS_OPS_HTTP", server.url);
  vi.spyOn(console, "error").mockImplementation(() => undefined);
});

afterEach(async () => {
  close();
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  await server.close();
});

const now = (): number => Math.floor(Date.now() / 1000);
const send = (...events: string[]): void => server.streams.forEach((stream) => stream.write(events.join("")));
const second = (time: number, values: Record<string, number>): string => event("cells", `${time}.1.e`, cellsOf(time, values));
const streaming = (): Promise<void> => until("a stream", () => server.streams.length);

it("has ops for scripts that do not import it", () => {
  expect((globalThis as { ops?: unknown }).ops).toBe(ops);
});

describe("onMetric", () => {
  it("is called with each second from now on, once, in their order", async () => {
    const calls: [number, number][] = [];
    const end = onMetric("a", (value, cell) => calls.push([value, cell.time]));
    await streaming();
    const begin = now() + 5;
    send(second(begin - 30, { a: 0 }), second(begin, { a: 1 }), second(begin, { a: 9 }), second(begin + 1, {}), second(begin + 2, { a: 2 }));
    await until("two calls", () => calls.length === 2);
    expect(calls).toEqual([[1, begin], [2, begin + 2]]);
    end();
    send(second(begin + 3, { a: 3 }), second(begin + 4, {}));
    await new Promise((done) => setTimeout(done, 50));
    expect(calls).toHaveLength(2);
  });

  it("is called whatever another handler does", async () => {
    const before = counters();
    let called = 0;
    onMetric("a", () => { throw new Error("mine"); });
    onMetric("a", () => Promise.reject(new Error("mine too")));
    onMetric("a", () => new Promise(() => undefined)); // never ends
    onMetric("a", () => called++);
    await streaming();
    const begin = now() + 5;
    for (let n = 0; n < 70; n++) {
      send(second(begin + n, { a: n }));
      await until("it is called", () => called === n + 1);
    }
    await until("all are counted", () => counters().errors - before.errors === 140);
    expect(counters().skipped - before.skipped).toBe(6); // 64 calls that have not ended are enough
    expect(console.error).toHaveBeenCalledTimes(2); // each handler's first
  });
});

describe("onAlert", () => {
  const alert = (sequence: number, name: string, change: string): string =>
    event("alert", `9.${sequence}.e`, { name, change, state: change, value: 480, tags: {}, time: now() });

  it("is called when the alert of that name fires", async () => {
    const fired: unknown[] = [];
    const changes: string[] = [];
    const all: string[] = [];
    onAlert("x", (one) => fired.push([one.name, one.change, one.value]));
    onAlert("x", (one) => changes.push(one.change), { on: ["resolved", "pending"] });
    onAlert("*", (one) => all.push(one.name), { on: "firing" });
    await streaming();
    send(alert(1, "x", "pending"), alert(2, "x", "firing"), alert(3, "y", "firing"), alert(2, "x", "firing"), alert(4, "x", "resolved"));
    await until("all", () => changes.length === 2);
    expect([fired, changes, all]).toEqual([[["x", "firing", 480]], ["pending", "resolved"], ["x", "y"]]);
  });

  it("wants no metrics", async () => {
    onAlert("x", () => undefined);
    await streaming();
    expect(server.asked[0]!.path).toMatch(/^\/v1\/stream\?metric=-&since=\d+$/);
  });
});

describe("metric", () => {
  const history: Record<string, [number, number | null][]> = {};

  beforeEach(() => {
    server.answer = ({ path }, response) => {
      const expr = new URL(path, server.url).searchParams.get("expr") ?? "";
      json(response, 200, { expr, step: 10, series: [{ metric: "a", tags: {}, points: history[expr] ?? [] }] });
    };
  });

  it("has the mean of what was before and what came, weighted by samples", async () => {
    const first = Math.floor(now() / 10) * 10;
    history['sum("a")'] = [[first - 600, 1e6], [first - 100, 300], [first - 20, 100], [first - 10, null], [first, 5000]];
    history['count("a")'] = [[first - 600, 1], [first - 100, 3], [first - 20, 1], [first - 10, 0], [first, 5]];
    expect(metric.mean("a", "5m")).toBeNaN();
    await streaming();
    send(second(first + 3, { a: 400 }), second(first + 4, { a: 600 }));
    await until("it is known", () => !Number.isNaN(metric.mean("a", "5m")));
    // 300 + 100 of four samples before, 400 + 600 now; the step that cells have begun in is theirs.
    expect(metric.mean("a", "5m")).toBe(1400 / 6);
    expect(metric.last("a")).toBe(600);
    expect(metric.mean("a", "1s")).toBe(600);
    expect(server.asked.filter(({ path }) => path.includes("/v1/query"))).toHaveLength(2);
    send(second(first + 4 + 290, { a: 700 }));
    await until("what is old has gone", () => metric.mean("a", "5m") === 1700 / 3);
  });

  it("takes whole steps where cells begin within one that is over", async () => {
    const first = Math.floor(now() / 10) * 10;
    history['sum("a")'] = [[first, 70], [first + 10, 1000]];
    history['count("a")'] = [[first, 7], [first + 10, 1]];
    metric.mean("a", "10m");
    await streaming();
    send(Array.from({ length: 20 }, (_, n) => second(first + 5 + n, { a: 100 })).join(""));
    await until("it is known", () => !Number.isNaN(metric.mean("a", "10m")) && metric.last("a") === 100);
    await until("all cells", () => metric.mean("a", "10m") === (70 + 15 * 100) / 22);
  });

  it("is NaN for what nobody sends, and asks again when the engine is away", async () => {
    server.answer = (_, response) => json(response, 404, { type: "", title: "", status: 404, detail: "no metric b" });
    expect([metric.mean("b", "10m"), metric.last("b")]).toEqual([NaN, NaN]);
    await streaming();
    send(second(now(), {}));
    await until("it is asked", () => (metric.mean("b", "10m"), server.asked.some(({ path }) => path.includes("query"))));
    send(second(now() + 1, { b: 7 }));
    await until("cells alone", () => metric.mean("b", "10m") === 7);
  });

  it.each([["1s", 1], ["90s", 90], ["10m", 600], ["1h", 3600]])("reads the window %s", (text, seconds) => expect(secondsOf(text)).toBe(seconds));
  it.each(["", "10", "0s", "2h", "1d", "-1m", "1.5m", "m"])("refuses the window %s", (text) => expect(() => secondsOf(text)).toThrow("1s to 1h"));
});
