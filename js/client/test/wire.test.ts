// The golden cases of tests/golden/client_wire.json, which the Python client is held to as well.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Buffer } from "../src/buffer.js";
import { bytesOf, document, frame, kindOf, member, number } from "../src/wire.js";

interface Golden {
  lines: { name: string; kind: string | null; tags: Record<string, string> | null; rate: number; line: string }[];
  refused: { name: string; kind: string | null; tags: Record<string, string> | null; rate: number | string }[];
  numbers: [unknown, string][];
  refused_numbers: unknown[];
  members: [unknown, string][];
  refused_members: unknown[];
  documents: { name: string; value: number; tags: Record<string, string> | null; rate: number; document: object }[];
  datagrams: { bytes_max: number; lines: string[]; parts: [string, number][]; oversize: number }[];
}

const golden = JSON.parse(readFileSync(new URL("../../../tests/golden/client_wire.json", import.meta.url), "utf8")) as Golden;

describe("a line", () => {
  it.each(golden.lines)("of a series is $line", ({ name, kind, tags, rate, line }) => {
    const { head, tail } = frame(name, kindOf(name, kind), tags, rate);
    expect(`${head}V${tail}`).toBe(line);
  });

  it.each(golden.refused)("the engine would reject is refused: $name $kind $tags $rate", ({ name, kind, tags, rate }) => {
    expect(() => {
      if (typeof rate !== "number") throw new TypeError("client.test.ts has the rates");
      frame(name, kindOf(name, kind), tags, rate);
    }).toThrow();
  });

  it.each(golden.numbers)("writes the number %s as %s", (value, text) => expect(String(number(value))).toBe(text));

  it.each([...golden.refused_numbers, NaN, Infinity, -Infinity, undefined, Symbol("x"), 10n ** 400n])(
    "has no number %s", (value) => expect(() => number(value)).toThrow(TypeError));

  it.each(golden.members)("has the member %s as %s", (value, text) => expect(member(value)).toBe(text));

  it.each([...golden.refused_members, NaN, undefined])("has no member %s", (value) => expect(() => member(value)).toThrow());
});

describe("a document", () => {
  it.each(golden.documents)("says what no line can: $name", ({ name, value, tags, rate, document: expected }) => {
    expect(JSON.parse(document(name, value, "gauge", { tags: tags ?? undefined }, rate))).toEqual(expected);
  });

  it("carries a time", () => {
    expect(JSON.parse(document("x", 1, "gauge", { time: 1700000000.5 }, 1))).toEqual(
      { metric: "x", value: 1, kind: "gauge", time: 1700000000.5 });
  });
});

describe("datagrams", () => {
  it.each(golden.datagrams)("hold at most $bytes_max bytes", ({ bytes_max, lines, parts, oversize }) => {
    const buffer = new Buffer(1e6, bytes_max);
    const refused = lines.map((line) => buffer.add(line, line.startsWith("{"))).filter(Boolean);
    expect(buffer.take().map(({ text, samples }) => [text, samples])).toEqual(parts);
    expect(refused).toHaveLength(oversize);
  });

  it("are measured in bytes, not characters", () => {
    const buffer = new Buffer(1e6, 20);
    for (let n = 0; n < 9; n++) buffer.add("ü:1|g", false);
    expect(buffer.take().every(({ text }) => bytesOf(text) <= 20)).toBe(true);
  });

  it("turn the newest sample away when the buffer is full", () => {
    const buffer = new Buffer(12, 1432);
    expect([buffer.add("a:1|g", false), buffer.add("b:2|g", false), buffer.add("c:3|g", false)]).toEqual(
      [undefined, undefined, "dropped_full"]);
    expect(buffer.take()).toEqual([{ text: "a:1|g\nb:2|g", samples: 2 }]);
    expect(buffer.add("d:4|g", false)).toBeUndefined();
  });
});
