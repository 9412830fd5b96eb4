import { describe, expect, test } from "vitest";
import type { Cell } from "@hms-ops/client";
import { goodWords, isGood, isName, linked } from "../src/boards/board";
import { episodesOf, merged, type AnomalyRecord } from "../src/metric/anomalies";
import { byTag, caret, firstQuestion, percentilesOf, quoted } from "../src/metric/expressions";
import { poolByTag, UNTAGGED } from "../src/metric/pool";
import { chosen, neighbour, PRESET } from "../src/metric/ranges";

describe("a range", () => {
  test.each([
    ["1h", "", "", { key: "1h", seconds: 3600, fixed: null }],
    ["nonsense", "", "", { key: PRESET, seconds: 900, fixed: null }],
    ["1h", "100", "160.5", { key: "1h", seconds: 60.5, fixed: { from: 100, to: 160.5 } }],
    ["1h", "160", "100", { key: "1h", seconds: 3600, fixed: null }],
    ["1h", "x", "100", { key: "1h", seconds: 3600, fixed: null }],
  ])("%s from %j to %j", (range, from, to, expected) => {
    expect(chosen(range, from, to)).toEqual(expected);
  });
  test("has neighbours, and ends", () => {
    expect([neighbour("1h", 1).key, neighbour("1h", -1).key, neighbour("30d", 1).key, neighbour("1m", -1).key]).toEqual(["6h", "15m", "30d", "1m"]);
  });
});

describe("an expression", () => {
  test.each([["a.b_c", "a.b_c"], ["a b", '"a b"'], ['x"y\\', '"x\\"y\\\\"'], ["1st", '"1st"'], ["a..b", '"a..b"'], ["<img>", '"<img>"']])("names %s as %s", (name, text) => {
    expect(quoted(name)).toBe(text);
  });
  test("asks each kind what it means", () => {
    expect([firstQuestion("a", "counter"), firstQuestion("a", "timer"), byTag("a", "counter", "agency")]).toEqual(["rate(a)", "avg(a)", "rate(a) GROUP BY agency"]);
    expect(percentilesOf("a b")).toEqual(['p50("a b")', 'p95("a b")', 'p99("a b")']);
  });
  test("shows its mistake at its column", () => {
    expect(caret("avg(x", 1, 6)).toEqual(["avg(x", "     ^"]);
    expect(caret("a\nbc", 2, 2)).toEqual(["bc", " ^"]);
    expect(caret("a", 1, 99)).toEqual(["a", " ^"]);
  });
});

describe("anomalies", () => {
  const record = (second: number, state: string, region: string, value = 1, baseline = 1): AnomalyRecord => ({ time: second + 0.1, second, kind: "anomaly", name: "db.anomaly", state, metric: "db.write_ms", tags: { region }, value, baseline });
  test("are episodes of a series, with the farthest value", () => {
    const episodes = episodesOf([record(10, "started", "east", 20, 10), record(12, "held", "east", 90, 10), record(13, "started", "west"), record(15, "ended", "east", 9, 10)]);
    expect(episodes.map((one) => [one.from, one.to, one.series, one.value])).toEqual([[10, 15, '{region="east"}', 90], [13, null, '{region="west"}', 1]]);
  });
  test("that overlap are shaded once", () => {
    const spans = merged(episodesOf([record(10, "started", "east"), record(12, "started", "west"), record(14, "ended", "east"), record(18, "ended", "west"), record(30, "started", "east")]));
    expect(spans).toEqual([{ from: 10, to: 18, name: "db.anomaly" }, { from: 30, to: null, name: "db.anomaly" }]);
  });
  test("that end without a start are not made up", () => {
    expect(episodesOf([record(10, "ended", "east")])).toEqual([]);
  });
});

describe("series by a tag", () => {
  const cell = (time: number, tags: Record<string, string>, sum: number, count: number): Cell => ({ metric: "m", tags, kind: "timer", time, value: sum / count, count, sum, min: 0, max: 0, last: 0 });
  const series = new Map([
    ["1", [cell(9, { a: "x", h: "1" }, 10, 1), cell(10, { a: "x", h: "1" }, 30, 3)]],
    ["2", [cell(10, { a: "x", h: "2" }, 100, 1)]],
    ["3", [cell(10, { h: "3" }, 5, 1)]],
  ]);
  test("are weighted by their samples", () => {
    const rows = poolByTag(series, "a", "timer");
    expect(rows.map((row) => [row.label, row.now, row.minute, row.samples, row.series])).toEqual([["x", 32.5, 28, 5, 2], [UNTAGGED, 5, 5, 1, 1]]);
  });
  test("of a counter add up, by second", () => {
    expect(poolByTag(series, "a", "counter")[0]).toMatchObject({ now: 130, minute: 70 });
  });
  test("a tag's value is not taken for the lack of it", () => {
    const odd = new Map([["1", [cell(1, { a: UNTAGGED }, 1, 1)]], ["2", [cell(1, {}, 2, 1)]]]);
    expect(poolByTag(odd, "a", "timer")).toHaveLength(2);
  });
});

describe("a board", () => {
  test.each([[199, 200, null, true], [200, 200, null, false], [0.99, null, 0.999, false], [5, 10, 1, true], [0, 10, 1, false], [5, null, null, null], [null, 10, null, null], [NaN, 10, null, null]])("%s below %s above %s: good is %s", (value, good_below, good_above, expected) => {
    expect(isGood({ good_below, good_above }, value)).toBe(expected);
  });
  test("says what is good", () => {
    expect(goodWords({ good_below: 200, good_above: 5 }, String)).toBe("good above 5 and below 200");
    expect(goodWords({ good_below: null, good_above: null }, String)).toBe("");
  });
  test("links addresses of the web and nothing else", () => {
    expect(linked("see https://wiki/x (javascript:alert(1))").map((part) => part.href)).toEqual([null, "https://wiki/x", null]);
  });
  test.each([["refund-rush", true], ["a.b_c", true], ["", false], ["../x", false], [".x", false], ["a/b", false], ["a b", false]])("%j as a name: %s", (name, isFine) => {
    expect(isName(name)).toBe(isFine);
  });
});
