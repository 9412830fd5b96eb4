import { describe, expect, test } from "vitest";
import { ago, count, NONE, number, percent, plural, span, tagText, utc, withUnit } from "../src/kit/format";
import { sortRows, type Column } from "../src/kit/table";

describe("numbers", () => {
  test.each([[0, "0"], [1234.5, "1,235"], [12.345, "12.3"], [0.001234, "0.00123"], [null, NONE], [undefined, NONE], [NaN, NONE]])("%s as %s", (value, text) => {
    expect(number(value)).toBe(text);
  });
  test("with their unit, in steps of it", () => {
    expect([withUnit(212, "ms"), withUnit(1250, "ms"), withUnit(3 * 2 ** 20, "bytes"), withUnit(null, "ms")]).toEqual(["212 ms", "1.25 s", "3 MiB", NONE]);
  });
  test("counted, shared, and in words", () => {
    expect([count(1234567), count(null), percent(0.9912), percent(NaN)]).toEqual(["1,234,567", NONE, "99.1 %", NONE]);
    expect([plural(1, "alert"), plural(2, "alert"), plural(0, "series", "series")]).toEqual(["1 alert", "2 alerts", "0 series"]);
  });
});

describe("times", () => {
  test.each([[0, "0 s"], [0.25, "250 ms"], [59, "59 s"], [60, "1 min"], [200, "3 min 20 s"], [7200, "2 h"], [7320, "2 h 2 min"], [100_000, "1 d 3 h"], [3601, "1 h"], [NaN, NONE]])("%s seconds are %s", (seconds, text) => {
    expect(span(seconds)).toBe(text);
  });
  test.each([[100, 101, "just now"], [100, 160, "1 min ago"], [100, 100 + 3 * 86_400, "3 d ago"], [160, 100, "in 1 min"]])("%s at %s: %s", (at, now, text) => {
    expect(ago(at, now)).toBe(text);
  });
  test("for machines are in UTC", () => {
    expect(utc(1_700_000_000.4)).toBe("2023-11-14T22:13:20Z");
  });
});

test("tags are in the order of their names", () => {
  expect(tagText({ b: "2", a: 'x"y' })).toBe('{a="x"y", b="2"}');
  expect(tagText({})).toBe("");
  expect(tagText(null)).toBe("");
});

describe("a table's order", () => {
  const column = (key: string): Column<Record<string, string | number | null>> => ({ key, title: key, value: (row) => row[key] ?? null });
  const columns = [column("name"), column("n")];
  const rows = [{ name: "m10", n: 3 }, { name: "m2", n: null }, { name: "m1", n: 7 }];
  test.each([["name", ["m1", "m2", "m10"]], ["-name", ["m10", "m2", "m1"]], ["n", ["m10", "m1", "m2"]], ["-n", ["m1", "m10", "m2"]], ["", ["m10", "m2", "m1"]], ["nothing", ["m10", "m2", "m1"]]])("%j", (order, expected) => {
    expect(sortRows(rows, columns, order).map((row) => row.name)).toEqual(expected);
  });
});
