import { expect, test } from "vitest";
import { aligned, lineOf, linesOfAnswers, rowsOfCells, rowsOfHistory, spliced, type Line, type Row } from "../src/chart/lines.js";
import type { Cell } from "@hms-ops/client";
import { answerOf, cellOf } from "./fake.js";

const cells = (...times: number[]) => times.map((time) => cellOf("m", time, time * 10));
const live = (given: readonly Cell[]) => lineOf("m", "m", rowsOfCells(given));
const line = (key: string, times: number[], values: (number | null)[]): Line => ({ key, name: key, times, values });
const rows = (...times: number[]): Row[] => times.map((time) => [time, time, time, time]);

test("seconds without samples break the line; a sender that skips one does not", () => {
  expect(live(cells(1, 2, 3, 5, 6, 7)).values).not.toContain(null);
  const broken = live(cells(1, 2, 3, 8, 9, 10));
  expect(broken.times).toEqual([1, 2, 3, 4, 8, 9, 10]);
  expect(broken.values[3]).toBeNull();
});

test("a sender of one sample in ten seconds has a whole line", () => {
  expect(live(cells(10, 20, 30, 40, 50)).values).toEqual([100, 200, 300, 400, 500]);
  expect(live(cells(10, 20, 30, 60, 70)).values).toContain(null);
});

test("a band is there where seconds have several values, not for sums", () => {
  const many = { count: 3, min: 1, max: 9 };
  expect(live([cellOf("m", 1, 5, "timer", many), cellOf("m", 2, 5, "timer")])).toMatchObject({ low: [1, 5], high: [9, 5] });
  expect(live([cellOf("m", 1, 5, "counter", many)]).low).toBeUndefined();
  expect(live(cells(1, 2)).low).toBeUndefined();
});

test("a step of history without a value is a gap, whether it is left out or null", () => {
  expect(lineOf("m", "m", rowsOfHistory([[[0, 1], [10, 2], [20, 3], [40, 5], [50, 6]]])).values).toEqual([1, 2, 3, null, 5, 6]);
  expect(lineOf("m", "m", rowsOfHistory([[[0, 1], [10, 2], [20, 3], [30, null], [40, 5]]])).values).toEqual([1, 2, 3, null, 5]);
  expect(rowsOfHistory([])).toEqual([]);
});

test("what is sent once a minute is a line also by steps of ten seconds", () => {
  expect(lineOf("m", "m", rowsOfHistory([[[0, 1], [10, null], [60, 2], [120, 3], [130, null], [180, 4]]])).values).toEqual([1, 2, 3, 4]);
});

test("lines are named by their tags, and by their expression where there are several", () => {
  const irs = answerOf("avg(a) GROUP BY agency", 10, [[0, 1]], { agency: "irs" });
  expect(linesOfAnswers([irs])[0]!.name).toBe("agency irs");
  expect(linesOfAnswers([irs, answerOf("b", 10, [[0, 1]])]).map(({ name }) => name)).toEqual(["avg(a) GROUP BY agency agency irs", "b"]);
  expect(linesOfAnswers([answerOf("b", 10, [[0, 1]])])[0]!.name).toBe("b");
  const without = { ...irs.series[0]!, tags: {} };
  expect(linesOfAnswers([{ ...irs, series: [without, ...irs.series] }]).map(({ name }) => name)).toEqual(["no tag", "agency irs"]);
});

test("history goes on with live rows, and a step they overlap is theirs", () => {
  expect(spliced(rows(0, 10, 20, 30), 10, rows(35, 36)).map(([time]) => time)).toEqual([0, 10, 20, 35, 36]);
  expect(spliced(rows(0, 10), 10, [])).toEqual(rows(0, 10));
  expect(spliced([], 10, rows(5))).toEqual(rows(5));
});

test("the band of history goes on along the line where live rows have none", () => {
  const past = rowsOfHistory([[[0, 5]], [[0, 1]], [[0, 9]]]);
  expect(lineOf("m", "m", spliced(past, 10, rows(10, 11)))).toMatchObject({ low: [1, 10, 11], high: [9, 10, 11] });
});

test("lines share one time axis: null is a gap, undefined is not", () => {
  expect(aligned([line("a", [1, 2, 4], [10, null, 40]), line("b", [2, 3], [5, 6])])).toEqual([
    [1, 2, 3, 4], [10, null, undefined, 40], [undefined, 5, 6, undefined],
  ]);
  expect(aligned([])).toEqual([[]]);
});
