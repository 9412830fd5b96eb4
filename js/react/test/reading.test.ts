import { expect, test } from "vitest";
import { kept, moved, samplesOf, spoken, summaryOf, trendOf, valueAt, type Cursor } from "../src/chart/reading.js";
import type { Line } from "../src/chart/lines.js";

const window = { from: 0, to: 60 };
const line = (key: string, values: (number | null)[]): Line => ({ key, name: key, times: values.map((_, at) => at), values });
const ramp = line("ramp", Array.from({ length: 30 }, (_, at) => at * 10));
const flat = line("flat", Array.from({ length: 30 }, () => 5));
const at = (line: string, time: number): Cursor => ({ line, time });

test.each<[string, boolean, Cursor | null, Cursor | null | undefined]>([
  ["ArrowLeft", false, null, at("ramp", 29)],
  ["Home", false, null, at("ramp", 0)],
  ["ArrowLeft", false, at("ramp", 29), at("ramp", 28)],
  ["ArrowRight", false, at("ramp", 29), at("ramp", 29)],
  ["ArrowLeft", true, at("ramp", 29), at("ramp", 19)],
  ["ArrowLeft", true, at("ramp", 3), at("ramp", 0)],
  ["Home", false, at("ramp", 20), at("ramp", 0)],
  ["End", false, at("ramp", 20), at("ramp", 29)],
  ["PageDown", false, at("ramp", 20), at("flat", 20)],
  ["PageDown", false, at("flat", 20), at("ramp", 20)],
  ["PageUp", false, at("ramp", 20), at("flat", 20)],
  ["Escape", false, at("ramp", 20), null],
  ["a", false, at("ramp", 20), undefined],
  ["Tab", false, at("ramp", 20), undefined],
])("%s (far: %s) from %o goes to %o", (key, isFar, from, to) => {
  expect(moved(key, isFar, [ramp, flat], window, from)).toEqual(to);
});

test("keys on a chart without samples go nowhere", () => {
  expect(moved("ArrowLeft", false, [], window, null)).toBeNull();
  expect(moved("Home", false, [line("none", [null, null])], window, null)).toBeNull();
});

test("gaps are no samples: the cursor steps over them", () => {
  const broken = line("broken", [1, null, null, 4]);
  expect(moved("ArrowLeft", false, [broken], window, at("broken", 3))).toEqual(at("broken", 0));
  expect(valueAt(broken, 1)).toBeNull();
  expect(valueAt(broken, 3.5)).toBe(4);
});

test("a cursor whose sample has left the window stands on the oldest one there is", () => {
  expect(kept(at("ramp", 2), [ramp], { from: 10, to: 70 })).toEqual(at("ramp", 10));
  expect(kept(at("gone", 2), [ramp], window)).toBeNull();
});

test("what is under the cursor is spoken with its place among the samples", () => {
  expect(spoken(at("ramp", 2), [ramp], window, "ms", [])).toMatch(/^\d\d:\d\d:02, ramp 20 ms, 3 of 30$/);
  expect(spoken(at("ramp", 2), [ramp], window, "ms", [{ from: 1, to: 3, name: "a jump" }])).toMatch(/3 of 30, anomaly a jump$/);
});

test("the summary tells value, range, trend and extremes, and is true", () => {
  const words = summaryOf("Load", [ramp], window, "ms", [{ from: 5, name: "a jump" }], [{ value: 200, name: "limit" }]);
  expect(words).toMatch(/^ramp: 290 ms at \d\d:\d\d:29, above limit 200 ms\. In 1 min between 0 ms at .*:00 and 290 ms at .*:29, rising\. Anomalies: a jump from .*:05\.$/);
  expect(summaryOf("Load", [flat], window, "", [], [])).toMatch(/flat: 5 at .* The same for 1 min\.$/);
  expect(summaryOf("Load", [], window, "", [], [])).toBe("Load: no samples in 1 min.");
});

test("a summary of many lines is bounded", () => {
  const many = Array.from({ length: 9 }, (_, at) => ({ ...flat, key: `${at}`, name: `line ${at}` }));
  const words = summaryOf("Load", many, window, "", [], []);
  expect(words).toMatch(/^Load, 9 lines\. /);
  expect(words).toMatch(/5 more lines\.$/);
});

test.each([[[1, 2, 3, 4, 5, 6], "rising"], [[6, 5, 4, 3, 2, 1], "falling"], [[1, 9, 1, 9, 1, 9], "steady"], [[5, 5, 5], "steady"], [[5], "steady"]])(
  "%s is %s", (values, trend) => {
    expect(trendOf(samplesOf(line("m", values), window), Math.max(...values) - Math.min(...values))).toBe(trend);
  });
