import { describe, expect, test } from "vitest";
import type { Cell } from "@hms-ops/client";
import { arrange, countOf, filterOf, prefixOf, shortName, UNGROUPED, type Metric, type Sort } from "../src/wall/arrange";
import { heightOf, layOut, visible, type Measures } from "../src/wall/layout";
import { lightsOf, namesIn, readers } from "../src/wall/rules";
import { sparkPath } from "../src/wall/spark";
import { metricsOf } from "../src/wall/source";

const metric = (name: string, more: Partial<Metric> = {}): Metric => ({ metric: name, kind: "gauge", unit: "", help: "", series: 1, rule: false, value: null, ...more });
const names = (groups: ReturnType<typeof arrange>): string[] => groups.flatMap((group) => group.metrics.map((one) => one.metric));
const off = (): "off" => "off";

describe("groups", () => {
  test.each([["db.write_ms", "db", "write_ms"], ["uptime", UNGROUPED, "uptime"], [".hidden", UNGROUPED, ".hidden"], ["db.", "db", "db."], ["a.b.c", "a", "b.c"]])("%s is in %s as %s", (name, prefix, short) => {
    expect([prefixOf(name), shortName(name)]).toEqual([prefix, short]);
  });

  test("come by name, whatever comes first", () => {
    const groups = arrange([metric("db.a"), metric("web.b"), metric("db.c"), metric("uptime")], "", "name", off);
    expect(groups.map((group) => [group.prefix, group.metrics.length])).toEqual([["db", 2], [UNGROUPED, 1], ["web", 1]]);
    expect(countOf(groups)).toBe(4);
  });

  test.each<[Sort, string[]]>([
    ["name", ["a.1", "a.2", "a.3"]],
    ["value", ["a.2", "a.1", "a.3"]],
    ["series", ["a.3", "a.1", "a.2"]],
    ["state", ["a.3", "a.2", "a.1"]],
  ])("ordered by %s", (sort, expected) => {
    const metrics = [metric("a.1", { value: 5, series: 2 }), metric("a.2", { value: 9 }), metric("a.3", { series: 7 })];
    const light = (name: string) => (name === "a.3" ? "bad" : name === "a.2" ? "good" : "off");
    expect(names(arrange(metrics, "", sort, light))).toEqual(expected);
  });

  test("with something firing come first by state", () => {
    const light = (name: string) => (name === "z.bad" ? "bad" : "good");
    expect(arrange([metric("a.fine"), metric("z.bad")], "", "state", light).map((group) => group.prefix)).toEqual(["z", "a"]);
  });
});

describe("a filter", () => {
  const timer = metric("finance.API_ms", { kind: "timer", unit: "ms" });
  test.each([
    ["", true], ["api", true], ["API fin", true], ["api db", false], ["kind:timer", true], ["kind:gauge", false],
    ["unit:ms", true], ["-db", true], ["-api", false], ["is:rule", false], ["-is:rule", true], ["is:silent", false], ["  ", true],
  ])("%j on finance.API_ms: %s", (text, isFound) => {
    expect(filterOf(text)(timer)).toBe(isFound);
  });

  test("of 20,000 metrics takes a blink", () => {
    const many = Array.from({ length: 20_000 }, (_, at) => metric(`service_${at % 100}.value_${at}`));
    // The quickest of five: others may be at work on the machine.
    const times = [1, 2, 3, 4, 5].map(() => {
      const start = performance.now();
      expect(countOf(arrange(many, "value_19", "name", off))).toBeGreaterThan(1000);
      return performance.now() - start;
    });
    expect(Math.min(...times)).toBeLessThan(100);
  });
});

describe("the layout", () => {
  const measures: Measures = { columns: 3, line: 100, heading: 40, gap: 10 };
  const groups = [10, 1, 300].map((many, at) => ({ prefix: `g${at}`, metrics: Array.from({ length: many }, (_, n) => metric(`g${at}.${n}`)) }));

  test("puts groups below each other; a closed one is its heading", () => {
    const blocks = layOut(groups, new Set(["g1"]), measures);
    expect(blocks.map((block) => [block.top, block.height])).toEqual([[0, 450], [450, 50], [500, 10_050]]);
    expect(heightOf(blocks)).toBe(10_550);
    expect(heightOf([])).toBe(0);
  });

  test("shows every metric that a window touches, and few others", () => {
    const blocks = layOut(groups, new Set(), measures);
    for (let from = 0; from < heightOf(blocks); from += 37) {
      const shown = visible(blocks, measures, from, from + 500);
      for (const [group, block] of blocks.entries()) {
        for (let at = 0; at < block.group.metrics.length; at++) {
          const top = block.top + 40 + Math.floor(at / 3) * 100;
          const isSeen = top + 100 > from && top < from + 500;
          const has = shown.some((one) => one.block === blocks[group] && one.first <= at && at < one.end);
          if (isSeen) expect(has).toBe(true);
        }
      }
      expect(shown.reduce((sum, one) => sum + one.end - one.first, 0)).toBeLessThanOrEqual(21);
      for (const one of shown) expect(one.above).toBe(Math.ceil(one.first / 3) * 100);
    }
  });

  test("of a closed group shows nothing but its heading", () => {
    const [first] = visible(layOut(groups, new Set(["g0", "g1", "g2"]), measures), measures, 0, 40);
    expect([first?.first, first?.end]).toEqual([0, 0]);
  });
});

describe("rules", () => {
  test.each([
    ["avg(db.write_ms, 10s) > 200", ["db.write_ms"]],
    ["rate(web.errors, 1m) / rate(web.requests, 1m) > 5%", ["web.errors", "web.requests"]],
    ['last("odd name") > 1 AND x.y > 2', ["AND", "x.y"]],
  ])("%s reads", (text, expected) => {
    for (const name of expected) expect(namesIn(text)).toContain(name);
    expect(namesIn(text)).not.toContain("avg");
    expect(namesIn(text)).not.toContain("s");
  });

  test("light the metrics they read, the worst first", () => {
    const rules = [{ alert: "slow", if: "avg(db.write_ms) > 1" }, { alert: "slower", if: "max(db.write_ms) > 9" }];
    expect(readers(rules).get("db.write_ms")).toEqual(["slow", "slower"]);
    expect(lightsOf(rules, [])("db.write_ms")).toBe("good");
    expect(lightsOf(rules, [])("db.read_ms")).toBe("off");
    expect(lightsOf(rules, [{ name: "slow", state: "pending" }])("db.write_ms")).toBe("warn");
    const both = lightsOf(rules, [{ name: "slow", state: "pending" }, { name: "slower", state: "firing" }]);
    expect([both("db.write_ms"), both("slow"), both("slower")]).toEqual(["bad", "warn", "bad"]);
  });

  test("an alert without a rule lights its own gauge", () => {
    expect(lightsOf([], [{ name: "by.hand", state: "firing" }])("by.hand")).toBe("bad");
  });
});

describe("the last minute", () => {
  const cell = (time: number, value: number | null): Cell => ({ metric: "m", tags: null, kind: "gauge", time, value, count: 1, sum: 0, min: null, max: null, last: null });
  test("is empty without values", () => {
    expect(sparkPath([], 100)).toBe("");
    expect(sparkPath([cell(99, null), cell(20, 5)], 100)).toBe("");
  });
  test("leaves a hole where seconds are missing", () => {
    expect(sparkPath([cell(80, 1), cell(81, 2), cell(95, 3)], 100).match(/M/g)).toHaveLength(2);
  });
  test("of a value that stands still is a line in the middle", () => {
    expect(sparkPath([cell(99, 7), cell(100, 7)], 100)).toMatch(/^M118\.0 16\.0h\.01L120\.0 16\.0$/);
  });
});

describe("the list of metrics", () => {
  test("is the same array for the same answer", () => {
    const answer = { metrics: [metric("a_ms")], is_complete: true };
    expect(metricsOf(answer)).toBe(metricsOf(answer));
    expect(metricsOf(null)).toBe(metricsOf(null));
  });
});
