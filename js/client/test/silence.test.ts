// A stream that says nothing is given up: with a clock that the test moves, and sockets that are real.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Client } from "../src/node.js";
import { SILENCE_MS } from "../src/subscribe.js";
import { serving, type Serving } from "./serving.js";

let server: Serving;
const { setImmediate: turn } = globalThis;

async function until(what: string, isTrue: () => unknown): Promise<void> {
  for (let n = 0; !isTrue(); n++) {
    if (n > 100_000) throw new Error(what);
    await new Promise((done) => turn(done));
  }
}

beforeEach(async () => {
  server = await serving();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});

afterEach(async () => {
  vi.useRealTimers();
  await server.close();
});

it("reconnects after half a minute of silence, and a comment is not silence", async () => {
  const errors: (Error | null)[] = [];
  const client = new Client({ url: "udp://127.0.0.1:9", http: server.url });
  const subscription = client.subscribe({}, { state: (state, error) => state === "reconnecting" && errors.push(error) });
  await until("a stream", () => server.streams.length);
  server.streams[0]!.write(": alive\n");
  for (let n = 0; n < 1000; n++) await new Promise((done) => turn(done));
  vi.advanceTimersByTime(SILENCE_MS - 1000);
  server.streams[0]!.write(": alive\n");
  for (let n = 0; n < 1000; n++) await new Promise((done) => turn(done));
  vi.advanceTimersByTime(SILENCE_MS - 1000);
  for (let n = 0; n < 100; n++) await new Promise((done) => turn(done));
  expect(errors).toEqual([]);
  vi.advanceTimersByTime(2000);
  await until("it gave up", () => errors.length);
  expect(errors[0]!.message).toBe("the stream was silent for 30 s");
  vi.advanceTimersByTime(2000);
  await until("another stream", () => server.asked.length === 2);
  subscription.close();
});
