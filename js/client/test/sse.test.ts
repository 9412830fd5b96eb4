import { expect, it } from "vitest";
import { EVENT_CHARS_MAX, sseParser, type Message } from "../src/sse.js";

function parsed(...pieces: string[]): { messages: Message[]; retries: number[] } {
  const messages: Message[] = [];
  const retries: number[] = [];
  const parse = sseParser((message) => messages.push(message), (ms) => retries.push(ms));
  pieces.forEach(parse);
  return { messages, retries };
}

const of = (event: string, data: string, id = ""): Message => ({ event, data, id });

it.each<[string, string, Message[]]>([
  ["an event", "event: cells\nid: 1.2.e\ndata: {}\n\n", [of("cells", "{}", "1.2.e")]],
  ["one without a type", "data: x\n\n", [of("message", "x")]],
  ["several lines of data", "data: a\ndata:b\ndata\n\n", [of("message", "a\nb\n")]],
  ["only one space is taken off", "data:  a\n\n", [of("message", " a")]],
  ["an id lasts", "id: 7\ndata: a\n\ndata: b\n\n", [of("message", "a", "7"), of("message", "b", "7")]],
  ["an id without data is kept for the next", "id: 8\n\ndata: b\n\n", [of("message", "b", "8")]],
  ["an id with NUL is none", "id: 7\0\ndata: a\n\n", [of("message", "a")]],
  ["no event without data", "event: cells\n\ndata: x\n\n", [of("message", "x")]],
  ["comments", ": alive\n:\ndata: x\n: again\n\n", [of("message", "x")]],
  ["unknown fields", "datum: x\ndata: y\nfoo\n\n", [of("message", "y")]],
  ["colons in data", "data: a:b: c\n\n", [of("message", "a:b: c")]],
  ["CR LF", "event: a\r\ndata: x\r\n\r\n", [of("a", "x")]],
  ["CR alone", "event: a\rdata: x\r\rdata: y", [of("a", "x")]],
  ["an event that never ends is none", "data: x\n", []],
])("%s", (_, text, messages) => {
  expect(parsed(text).messages).toEqual(messages);
  const cut = parsed(...text); // by the character
  expect(cut.messages).toEqual(messages);
});

it("says how long to wait before the next attempt, in whole milliseconds", () => {
  expect(parsed("retry: 1000\n", "retry: 1.5\nretry:\nretry: x\n").retries).toEqual([1000]);
});

it("has a bound for an event", () => {
  const parse = sseParser(() => undefined, () => undefined);
  const piece = `data: ${"x".repeat(1 << 20)}\n`;
  expect(() => { for (let n = 0; n <= EVENT_CHARS_MAX / (1 << 20); n++) parse(piece); }).toThrow("too long");
});
