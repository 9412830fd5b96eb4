// The browser's entry, in Node: window, document and navigator are what a browser would have.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Client } from "../src/browser.js";
import { json, serving, until, type Serving } from "./serving.js";

let server: Serving;
let client: Client;
let beacons: [string, string][];
const page = new EventTarget();
const shown = Object.assign(new EventTarget(), { visibilityState: "visible" });

beforeEach(async () => {
  server = await serving();
  beacons = [];
  shown.visibilityState = "visible";
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
  vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
  vi.stubGlobal("document", shown);
  vi.stubGlobal("navigator", { sendBeacon: (url: string, body: string) => beacons.push([url, body]) > 0 });
  client = new Client({ http: server.url, flushIntervalMs: 10 });
});

afterEach(async () => {
  client.close();
  vi.unstubAllGlobals();
  await server.close();
});

it("posts what has come since the last time", async () => {
  client.metric("page.load_ms", 812, { tags: { page: "/claims" } });
  client.increment("clicks");
  await until("it is sent", () => client.counters().sent === 2);
  expect(server.asked).toMatchObject([{ method: "POST", path: "/v1/ingest", body: "page.load_ms:812|ms|#page:/claims\nclicks:1|c" }]);
  expect(client.counters()).toMatchObject({ datagrams: 1, dropped: 0 });
});

it("sends one body after the other, and keeps what comes meanwhile", async () => {
  let open = 0;
  let most = 0;
  server.answer = (_, response) => {
    most = Math.max(most, ++open);
    setTimeout(() => (open--, json(response, 200, {})), 20);
  };
  for (let n = 0; n < 8000; n++) client.metric(`a.metric.with.a.name.${n}`, n);
  await until("a body is under way", () => server.asked.length);
  client.metric("late", 1);
  await until("all", () => client.counters().sent === 8001);
  expect(most).toBe(1);
  expect(server.asked.every(({ body }) => body.length <= 48 * 1024)).toBe(true);
  expect(server.asked.at(-1)!.body).toBe("late:1|g");
});

it("counts what is refused, and what nobody receives", async () => {
  server.answer = (_, response) => json(response, 401, { type: "", title: "", status: 401, detail: "token" });
  client.metric("a", 1);
  await until("it is refused", () => client.counters().dropped_refused === 1);
  const away = new Client({ http: "http://127.0.0.1:9", flushIntervalMs: 1 });
  away.metric("a", 1);
  await until("it is lost", () => away.counters().dropped_unreachable === 1);
  away.close();
});

it("hands over what waits when the page goes", () => {
  client.metric("a", 1);
  page.dispatchEvent(new Event("pagehide"));
  expect(beacons).toEqual([[`${server.url}/v1/ingest`, "a:1|g"]]);
  expect(client.counters().sent).toBe(1);
  client.metric("b", 2);
  shown.visibilityState = "hidden";
  shown.dispatchEvent(new Event("visibilitychange"));
  expect(beacons).toHaveLength(2);
});

it("shows its token when the page goes, which a beacon cannot", async () => {
  const known = new Client({ http: server.url, token: "secret" });
  known.metric("a", 1);
  page.dispatchEvent(new Event("pagehide"));
  await until("it is sent", () => known.counters().sent === 1);
  expect(beacons).toEqual([]);
  expect(server.asked[0]!.headers.authorization).toBe("Bearer secret");
  known.close();
});

it("speaks to the page's own origin by itself", async () => {
  const fetched: string[] = [];
  vi.stubGlobal("fetch", async (url: string) => (fetched.push(url), new Response("{}")));
  await new Client().query("x");
  expect(fetched).toEqual(["/v1/query?expr=x"]);
});

it("leaves the page alone once it is closed", () => {
  client.metric("a", 1);
  client.close();
  page.dispatchEvent(new Event("pagehide"));
  expect(beacons).toEqual([]);
});
