import { createSocket, type Socket } from "node:dgram";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ProblemError, Unreachable } from "../src/http.js";
import { Client } from "../src/node.js";
import { targetOf } from "../src/udp.js";
import { json, serving, until, type Serving } from "./serving.js";

let socket: Socket;
let datagrams: string[];
let client: Client;
let url: string;

beforeEach(async () => {
  datagrams = [];
  socket = createSocket("udp4");
  socket.on("message", (datagram) => datagrams.push(datagram.toString()));
  await new Promise<void>((done) => socket.bind(0, "127.0.0.1", done));
  url = `udp://127.0.0.1:${(socket.address() as AddressInfo).port}`;
  client = new Client({ url });
});

afterEach(() => {
  client.close();
  socket.close();
});

const lines = (): string[] => datagrams.flatMap((datagram) => datagram.split("\n"));

describe("emitting", () => {
  it("sends every kind", async () => {
    client.metric("finance.api_ms", 240, { tags: { agency: "irs" } });
    client.metric("queue", 3);
    client.increment("hits");
    client.increment("hits", 5, { tags: { a: 1 } });
    client.gauge("depth", 0);
    client.timing("t", 1.5, { rate: 1 });
    client.histogram("h", 2);
    client.set("visitors", "ann");
    await until("all", () => lines().length === 8);
    expect(datagrams).toEqual([
      "finance.api_ms:240|ms|#agency:irs\nqueue:3|g\nhits:1|c\nhits:5|c|#a:1\ndepth:0|g\nt:1.5|ms\nh:2|h\nvisitors:ann|s",
    ]);
    expect(client.counters()).toMatchObject({ sent: 8, datagrams: 1, dropped: 0 });
  });

  it("sends gauges below zero and samples with a time as documents", async () => {
    client.gauge("outside", -5);
    client.metric("old", 1, { time: 1700000000.5, kind: "counter" });
    await until("one", () => datagrams.length);
    expect(JSON.parse(datagrams[0]!)).toEqual([
      { metric: "outside", value: -5, kind: "gauge" },
      { metric: "old", value: 1, kind: "counter", time: 1700000000.5 },
    ]);
  });

  it("packs datagrams of at most 1,432 bytes, and loses nothing", async () => {
    for (let n = 0; n < 5000; n++) client.metric(`metric.number.${n}`, n);
    await until("all", () => lines().length === 5000);
    expect(datagrams.every((datagram) => datagram.length <= 1432)).toBe(true);
    expect(datagrams.length).toBeLessThan(100);
    expect(lines()).toEqual(Array.from({ length: 5000 }, (_, n) => `metric.number.${n}:${n}|g`));
  });

  it("sends a share of the calls, and says which", async () => {
    for (let n = 0; n < 2000; n++) client.increment("hits", 1, { rate: 0.1 });
    client.metric("end", 1);
    await until("the end", () => lines().includes("end:1|g"));
    const hits = lines().filter((line) => line === "hits:1|c|@0.1").length;
    expect(hits).toBeGreaterThan(120);
    expect(hits).toBeLessThan(300);
  });

  it.each<unknown[]>([
    ["", 1], [null, 1], ["x", NaN], ["x", Infinity], ["x", "1"], ["x", undefined], ["x", {}], ["x", Symbol("s")],
    ["x", 1, { kind: "c" }], ["x", 1, { rate: 0 }], ["x", 1, { rate: 2 }], ["x", 1, { rate: "0.5" }], ["x", 1, { tags: { a: null } }],
    ["x", 1, { tags: "a:b" }], ["x", 1, { time: NaN }], ["x".repeat(200), 1, { tags: { a: "y".repeat(1432) } }],
  ])("counts what cannot be sent and throws nothing: %o %o %o", (...given) => {
    (client.metric as (...given: unknown[]) => void)(...given);
    expect(client.counters()).toMatchObject({ dropped: 1, dropped_invalid: 1 });
  });

  it("survives options that throw", () => {
    client.metric("x", 1, { get tags(): never { throw new Error("mine"); } });
    expect(client.counters().dropped_invalid).toBe(1);
  });

  it("counts what comes when the buffer is full, and what comes too late", () => {
    const small = new Client({ url, bufferBytesMax: 10 });
    small.metric("a", 1);
    small.metric("b", 2);
    small.close();
    small.metric("c", 3);
    expect(small.counters()).toMatchObject({ dropped_full: 1, dropped_closed: 1, dropped: 2 });
  });

  it("counts what nobody receives", async () => {
    const nobody = createSocket("udp4");
    await new Promise<void>((done) => nobody.bind(0, "127.0.0.1", done));
    const { port } = nobody.address();
    await new Promise<void>((done) => nobody.close(done));
    const lonely = new Client({ url: `udp://127.0.0.1:${port}`, flushIntervalMs: 5 });
    await until("it is counted", () => (lonely.metric("x", 1), lonely.counters().dropped_unreachable > 0));
    lonely.close();
  });

  it("counts what has no way to its host, and throws nothing on a timer", async () => {
    const lost = new Client({ url: "udp://255.255.255.255:8125", flushIntervalMs: 5 }); // the system refuses to connect there
    await until("it is counted", () => (lost.metric("x", 1), lost.counters().dropped_unreachable > 1));
    expect(lost.counters().sent).toBe(0);
    lost.close();
  });

  it("says once that the environment's address is none", () => {
    vi.stubEnv("HMS_OPS_URL", "tcp://h");
    vi.useFakeTimers();
    const told = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const nowhere = new Client();
    for (let n = 0; n < 5; n++) nowhere.metric("x", 1), vi.advanceTimersByTime(1500);
    expect(told.mock.calls).toEqual([['hms-ops: HMS_OPS_URL: "tcp://h" is not udp://HOST:PORT; metrics are dropped']]);
    expect(nowhere.counters().dropped_unreachable).toBe(5);
    told.mockRestore();
    vi.useRealTimers();
    vi.unstubAllEnvs();
  });

  it("finds a listener that comes back", async () => {
    const { port } = socket.address();
    const flighty = new Client({ url, flushIntervalMs: 5 });
    await new Promise<void>((done) => socket.close(done));
    await until("it is away", () => (flighty.metric("x", 1), flighty.counters().dropped_unreachable > 0));
    socket = createSocket("udp4").on("message", (datagram) => datagrams.push(datagram.toString()));
    await new Promise<void>((done) => socket.bind(port, "127.0.0.1", done));
    await until("it is back", () => (flighty.metric("x", 2), lines().includes("x:2|g")));
    flighty.close();
  });

  it.each([
    ["udp://127.0.0.1:9125", "127.0.0.1", 9125], ["udp://ops.agency.gov", "ops.agency.gov", 8125], ["udp://[::1]:1/", "::1", 1],
  ])("goes to %s", (text, host, port) => expect(targetOf(text)).toEqual({ host, port }));

  it.each(["", "127.0.0.1:8125", "udp://", "udp://h:0", "udp://h:70000", "udp://h/p", "unix:///run/x.sock", "http://h"])(
    "refuses the address %s", (text) => expect(() => targetOf(text)).toThrow(/is not udp:\/\/HOST:PORT/));
});

describe("timed", () => {
  it("records functions that return, throw, resolve and reject, and changes none of it", async () => {
    const self = { factor: 3, times: client.timed("t1_ms", function (this: { factor: number }, n: number) { return n * this.factor; }) };
    expect(self.times(2)).toBe(6);
    expect(() => client.timed("t2_ms", () => { throw new Error("mine"); })()).toThrow("mine");
    await expect(client.timed("t3_ms", async (n: number) => n + 1)(1)).resolves.toBe(2);
    await expect(client.timed("t4_ms", async () => { throw new Error("mine"); })()).rejects.toThrow("mine");
    await until("four", () => lines().length === 4);
    expect(lines().map((line) => line.replace(/:[\d.e-]+/, ":V"))).toEqual(["t1_ms:V|ms", "t2_ms:V|ms", "t3_ms:V|ms", "t4_ms:V|ms"]);
  });

  it("measures until a promise settles", async () => {
    await client.timed("slow_ms", () => new Promise((done) => setTimeout(done, 60)))();
    await until("one", () => datagrams.length);
    expect(parseFloat(datagrams[0]!.split(":")[1]!)).toBeGreaterThan(50);
  });
});

describe("asking", () => {
  let server: Serving;
  let asking: Client;

  beforeEach(async () => {
    server = await serving();
    asking = new Client({ url, http: `${server.url}/`, token: "secret" });
  });
  afterEach(() => server.close());

  it("posts a rule with the keys of a rule file", async () => {
    await asking.alert("finance.slow", { if: "avg(finance.api_ms) > 200", for: "3m", notify: "sms:+1-555-0100", severity: "page" });
    const [{ method, path, headers, body }] = server.asked as [(typeof server.asked)[0]];
    expect([method, path, headers["content-type"], headers.authorization]).toEqual(["POST", "/v1/alerts", "application/json", "Bearer secret"]);
    expect(JSON.parse(body)).toEqual({
      alert: "finance.slow", if: "avg(finance.api_ms) > 200", for: "3m", notify: ["sms:+1-555-0100"], severity: "page",
    });
  });

  it("fires an alert by its name", async () => {
    await asking.alertNow("a/b c?", { value: 480, tags: { agency: "irs" }, ttl: "5m" });
    expect([server.asked[0]!.path, JSON.parse(server.asked[0]!.body)]).toEqual(
      ["/v1/alerts/a%2Fb%20c%3F/fire", { value: 480, tags: { agency: "irs" }, ttl: "5m" }]);
  });

  it("queries", async () => {
    const answer = { expr: "avg(x)", step: 10, series: [{ metric: "x", tags: {}, points: [[10, null]] }] };
    server.answer = (_, response) => json(response, 200, answer);
    expect(await asking.query("avg(x) > 2", { start: new Date(1500), end: 2, step: "10s" })).toEqual(answer);
    await asking.query("x", { points: 100 });
    expect(server.asked.map(({ path }) => path)).toEqual(
      ["/v1/query?expr=avg%28x%29+%3E+2&start=1.5&end=2&step=10s", "/v1/query?expr=x&points=100"]);
  });

  it("sends any other document, a text as it is", async () => {
    await asking.request("/v1/dashboards/a", { method: "PUT", body: "title: x\n", headers: { "If-Match": '"1"', "Content-Type": "application/yaml" } });
    expect(server.asked[0]).toMatchObject({ method: "PUT", body: "title: x\n", headers: { "if-match": '"1"', "content-type": "application/yaml" } });
    await asking.request("/v1/session", { method: "DELETE" });
    expect(server.asked[1]).toMatchObject({ method: "DELETE", body: "" });
  });

  it.each([400, 401, 404, 409, 500, 503])("hands a refusal of status %d over with its document", async (status) => {
    const problem = { type: "urn:hms-ops:problem:rule", title: "no", status, detail: "not so", problems: [{ key: "if", message: "?" }] };
    server.answer = (_, response) => json(response, status, problem);
    const error = await asking.query("x").catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ProblemError);
    expect(error).toMatchObject({ status, problem, message: `HTTP ${status}: not so` });
  });

  it("understands refusals that are not the engine's", async () => {
    server.answer = (_, response) => response.writeHead(502).end("<html>Bad Gateway");
    await expect(asking.query("x")).rejects.toMatchObject({ status: 502, message: "HTTP 502: <html>Bad Gateway" });
    server.answer = (_, response) => response.end("<html>");
    await expect(asking.query("x")).rejects.toThrow("is this an HMS-OPS engine?");
  });

  it("does not wait for ever", async () => {
    server.answer = () => undefined;
    await expect(asking.request("/v1/slos", { timeoutMs: 30 })).rejects.toThrow(Unreachable);
    const ending = new AbortController();
    const asked = asking.request("/v1/slos", { signal: ending.signal });
    setTimeout(() => ending.abort(), 10);
    await expect(asked).rejects.toMatchObject({ name: "AbortError" });
    const mine = new Error("mine");
    await expect(asking.request("/v1/slos", { signal: AbortSignal.abort(mine) })).rejects.toBe(mine);
  });

  it.each(["is cut off", "does not end"])("says that nobody answers when an answer %s", async (what) => {
    server.answer = (_, response) => {
      response.writeHead(200, { "Content-Length": 100 }).write("{");
      if (what === "is cut off") setTimeout(() => response.destroy(), 10);
    };
    await expect(asking.request("/v1/slos", { timeoutMs: 100 })).rejects.toThrow(Unreachable);
  });

  it("rejects what cannot be said, and throws nothing", async () => {
    const circle: Record<string, string> = {};
    Object.assign(circle, { circle });
    for (const asked of [asking.alertNow("\ud800"), asking.alertNow("a", { tags: circle })]) {
      await expect(asked).rejects.toThrow();
    }
    expect([server.asked, asking.counters().alerts_failed]).toEqual([[], 2]);
  });

  it("warns once of alerts that fail and nobody awaits, and rejects for those who do", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    server.answer = (_, response) => json(response, 400, { type: "", title: "", status: 400, detail: "no such metric" });
    await expect(asking.alert("heard", { if: "x > 1" })).rejects.toThrow("no such metric");
    await asking.alertNow("heard").catch(() => undefined);
    expect(warn).not.toHaveBeenCalled();
    void asking.alert("unheard", { if: "x > 1" });
    void asking.alertNow("unheard");
    await until("both have failed", () => asking.counters().alerts_failed === 4);
    await until("the warning", () => warn.mock.calls.length);
    expect(warn.mock.calls).toEqual([["hms-ops: alert unheard: HTTP 400: no such metric"]]);
    warn.mockRestore();
  });

  it("names the address when nobody answers", async () => {
    const away = new Client({ url, http: "http://127.0.0.1:9" });
    await expect(away.query("x")).rejects.toThrow(/no engine answers at http:\/\/127\.0\.0\.1:9: .+/);
    expect(() => new Client({ http: "127.0.0.1:8126" })).toThrow("http is http://HOST:PORT");
  });
});
