import { afterEach, beforeEach, expect, it } from "vitest";
import { ProblemError } from "../src/http.js";
import { Client } from "../src/node.js";
import { waitMs } from "../src/subscribe.js";
import type { StreamEvent, StreamState, Subscription } from "../src/types.js";
import { cellsOf, event, json, serving, until, type Serving } from "./serving.js";

let server: Serving;
let client: Client;
let subscription: Subscription | undefined;
let events: StreamEvent[];
let states: [StreamState, Error | null][];

beforeEach(async () => {
  server = await serving();
  client = new Client({ url: "udp://127.0.0.1:9", http: server.url, token: "secret" });
  events = [];
  states = [];
});

afterEach(async () => {
  subscription?.close();
  await server.close();
});

function follow(wants: Parameters<Client["subscribe"]>[0] = {}): Subscription {
  return (subscription = client.subscribe(wants, {
    event: (one) => events.push(one), state: (state, error) => states.push([state, error]),
  }));
}

it("asks for what is wanted, with its token", async () => {
  follow({ metrics: ["a.b", "c d"], series: ["e*"], events: ["alert", "action"], since: 1700000000 });
  await until("a stream", () => server.streams.length);
  expect(server.asked[0]!.path).toBe("/v1/stream?metric=a.b&metric=c+d&series=e*&events=alert%2Caction&since=1700000000");
  expect(server.asked[0]!.headers.authorization).toBe("Bearer secret");
  expect(server.asked[0]!.headers.accept).toBe("text/event-stream");
});

it("can want no events", async () => {
  follow({ events: [] });
  await until("a stream", () => server.streams.length);
  expect(server.asked[0]!.path).toBe("/v1/stream?events=");
});

it("gives each cell its time, and events their type", async () => {
  follow();
  await until("a stream", () => server.streams.length);
  server.streams[0]!.write(event("cells", "7.1.e", cellsOf(7, { x: 2 })) + event("alert", "7.2.e", { name: "a", change: "firing", time: 7 }));
  await until("two events", () => events.length === 2);
  expect(events[0]).toMatchObject({ type: "cells", time: 7, cells: [{ metric: "x", time: 7, value: 2 }] });
  expect(events[1]).toEqual({ type: "alert", name: "a", change: "firing", time: 7 });
  expect(subscription!.lastEventId).toBe("7.2.e");
});

it("goes on after the last event when the stream ends", async () => {
  follow({ since: 5 });
  await until("a stream", () => server.streams.length);
  server.streams[0]!.end(event("cells", "7.1.e", cellsOf(7, {})));
  await until("another stream", () => server.asked.length === 2 && server.streams.length);
  expect(server.asked.map(({ path }) => path)).toEqual(["/v1/stream?since=5", "/v1/stream?last_event_id=7.1.e"]);
  server.streams[0]!.write(event("cells", "8.1.e", cellsOf(8, {})));
  await until("the next second", () => events.length === 2);
  expect(states.map(([state]) => state)).toEqual(["connecting", "live", "reconnecting", "live"]);
  expect(client.counters().reconnects).toBe(1);
});

it("goes on where another stream ended, from the second it is told", async () => {
  follow({ since: 5, lastEventId: "7.1.e" });
  await until("a stream", () => server.streams.length);
  expect(server.asked[0]!.path).toBe("/v1/stream?since=5&last_event_id=7.1.e");
});

it("survives an engine that is away", async () => {
  const { url } = server;
  await server.close();
  follow();
  await until("it is told", () => states.some(([state]) => state === "reconnecting"));
  expect(states.at(-1)![1]).toMatchObject({ name: "Unreachable", message: expect.stringContaining(url) });
  server = await serving(); // for afterEach
});

it("tells a refusal with its document, and obeys Retry-After", async () => {
  server.opens = false;
  server.answer = (_, response) => json(response, 503, { type: "t", title: "busy", status: 503, detail: "256 streams" }, { "Retry-After": "1" });
  const before = Date.now();
  follow();
  await until("it is told", () => states.some(([, error]) => error));
  const error = states.at(-1)![1] as ProblemError;
  expect([error.status, error.problem.detail, error.retryAfter]).toEqual([503, "256 streams", 1]);
  server.opens = true;
  await until("a stream", () => server.streams.length);
  expect(Date.now() - before).toBeGreaterThan(700);
});

it("passes gaps on, counts what it cannot read, and goes on", async () => {
  follow();
  await until("a stream", () => server.streams.length);
  server.streams[0]!.write("event: cells\ndata: {\n\nevent: novelty\ndata: {}\n\n" + event("gap", "9.1.e", { time: 9, from: 1, to: 8, reason: "slow" }));
  await until("the gap", () => events.length);
  expect(events).toEqual([{ type: "gap", time: 9, from: 1, to: 8, reason: "slow" }]);
  expect(client.counters().events_unread).toBe(2);
});

it("counts handlers that throw, and calls the others", async () => {
  let cells = 0;
  subscription = client.subscribe({}, {
    event: () => { throw new Error("mine"); },
    cells: async () => { cells++; throw new Error("mine later"); }, // unhandled it would end the process
    state: () => { throw new Error("mine too"); },
  });
  await until("a stream", () => server.streams.length);
  server.streams[0]!.write(event("cells", "7.1.e", cellsOf(7, {})));
  await until("all have failed", () => client.counters().handler_errors === 4);
  expect(cells).toBe(1);
});

it("says nothing more once it is closed, and lets its connection go", async () => {
  follow();
  await until("it is live", () => states.length === 2);
  subscription!.close();
  subscription!.close();
  await until("no stream", () => !server.streams.length);
  expect(states.map(([state]) => state)).toEqual(["connecting", "live", "closed"]);
  expect(server.asked).toHaveLength(1);
});

it("waits longer each time, with jitter, to half a minute", () => {
  const away = new Error();
  const low = (failures: number) => waitMs(away, 1000, failures, () => 0);
  const high = (failures: number) => waitMs(away, 1000, failures, () => 1);
  expect([low(0), high(0), low(3), high(3), low(9), high(9)]).toEqual([500, 1000, 4000, 8000, 15_000, 30_000]);
});

it("tries what another attempt will hardly change only each half minute, and what is busy soon", () => {
  const refusal = (status: number, after?: number) =>
    new ProblemError(status, { type: "", title: "", status, detail: "" }, after);
  const wait = (error: Error) => waitMs(error, 1000, 0, () => 1);
  expect([401, 403, 400, 404].map((status) => wait(refusal(status)))).toEqual([30_000, 30_000, 30_000, 30_000]);
  expect([429, 500, 503].map((status) => wait(refusal(status)))).toEqual([1000, 1000, 1000]);
  expect(wait(refusal(503, 7))).toBe(8750);
});
