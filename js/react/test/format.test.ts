import { expect, test } from "vitest";
import { formatAgo, formatDuration, formatNumber, formatTicks, formatTimeTicks, formatValue, isoOf } from "../src/format.js";

test.each([
  [212, "ms", "212 ms"], [0, "ms", "0 ms"], [0.45, "ms", "450 µs"], [1250, "ms", "1.25 s"], [90_000, "ms", "1.5 min"],
  [0.25, "s", "250 ms"], [1.5, "s", "1.5 s"], [7200, "s", "2 h"], [-3, "ms", "-3 ms"],
  [512, "bytes", "512 B"], [3.4 * 1024 ** 2, "bytes", "3.4 MiB"], [2048, "bytes/s", "2 KiB/s"],
  [12.5, "%", "12.5 %"], [1240, "/s", "1,240/s"], [52_000_000, "/s", "52 M/s"], [3, "requests", "3 requests"],
  [1_500_000, "requests", "1.5 M requests"], [1, "", "1"], [0.1 + 0.2, "", "0.3"], [21.34, "°C", "21.3 °C"],
  [null, "ms", "–"], [undefined, "", "–"], [NaN, "ms", "–"], [Infinity, "", "–"], [1e-9, "", "0"],
  [999.6, "ms", "1 s"], [1e20, "", "1e20"], [1.234e30, "requests", "1.23e30 requests"], [1e15, "/s", "1e15/s"], [-2e14, "", "-200 T"],
  [1e30, "bytes", "9.09e17 TiB"], [1e30, "ms", "1.16e22 d"],
])("%s in %s is %s", (value, unit, words) => {
  expect(formatValue(value, unit)).toBe(words);
});

test("numbers have about three significant digits, whole ones stay whole", () => {
  expect([0.0456, 1.234, 12.34, 123.4, 1234, -0, 1e30].map(formatNumber)).toEqual(["0.0456", "1.23", "12.3", "123", "1,234", "0", "1e30"]);
});

test("ticks of an axis share a unit and have the digits their distance needs", () => {
  expect(formatTicks([0, 100, 200], "ms")).toEqual(["0 ms", "100 ms", "200 ms"]);
  expect(formatTicks([0, 500, 1000], "ms")).toEqual(["0 s", "0.5 s", "1 s"]);
  expect(formatTicks([0, 0.25, 0.5], "")).toEqual(["0", "0.25", "0.5"]);
  expect(formatTicks([99.5, 99.55, 99.6], "%")).toEqual(["99.5 %", "99.55 %", "99.6 %"]);
  expect(formatTicks([0, 2 ** 30, 2 ** 31], "bytes")).toEqual(["0 GiB", "1 GiB", "2 GiB"]);
  expect(formatTicks([], "ms")).toEqual([]);
});

test("no two ticks of an axis read the same", () => {
  for (const apart of [0.001, 0.002, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 25, 250, 5000]) {
    const words = formatTicks(Array.from({ length: 8 }, (_, at) => at * apart), "ms");
    expect(new Set(words).size, `${apart}: ${words.join(" ")}`).toBe(8);
  }
});

test("durations and ages in words", () => {
  expect([0, 45, 60, 125, 300, 7500, 86_400, 273_600].map(formatDuration)).toEqual(
    ["0 s", "45 s", "1 min", "2 min 5 s", "5 min", "2 h 5 min", "1 d", "3 d 4 h"]);
  expect([formatAgo(100, 400), formatAgo(400, 100), formatAgo(100, 100)]).toEqual(["5 min ago", "in 5 min", "0 s ago"]);
});

test("times are ISO in titles; ticks have seconds only where they are close", () => {
  expect(isoOf(1_700_000_000)).toBe("2023-11-14T22:13:20Z");
  expect(isoOf(1_700_000_000.5)).toBe("2023-11-14T22:13:20.500Z");
  expect(formatTimeTicks([1_700_000_000], 10)[0]).toMatch(/^\d\d:\d\d:20$/);
  expect(formatTimeTicks([1_700_000_040], 60)[0]).toMatch(/^\d\d:\d\d$/);
  expect(formatTimeTicks([1_700_000_000], 86_400)[0]).toMatch(/^Nov 1\d$/);
});
