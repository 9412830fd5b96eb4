import { expect, test } from "vitest";
import { aligned, clipped, lineOfCells, lineOfHistory, linesOfAnswers, spliced, type Line } from "../src/chart/lines.js";
import { answerOf, cellOf } from "./fake.js";

const cells = (...times: number[]) => times.map((time) => cellOf("m", time, time * 10));
const line = (key: string, times: number[], values: (number | null)[]): Line => ({ key, name: key, times, values });

test("seconds without samples break the line; a sender that skips one does not", () => {
  expect(lineOfCells("m", cells(1, 2, 3, 5, 6, 7)).values).not.toContain(null);
  const broken = lineOfCells("m", cells(1, 2, 3, 8, 9, 10));
  expect(broken.times).toEqual([1, 2, 3, 4, 8, 9, 10]);
  expect(broken.values[3]).toBeNull();
});

test("a sender of one sample in ten seconds has a whole line", () => {
  expect(lineOfCells("m", cells(10, 20, 30, 40, 50)).values).toEqual([100, 200, 300, 400, 500]);
  expect(lineOfCells("m", cells(10, 20, 30, 60, 70)).values).toContain(null);
});

test("a band is there where seconds have several values, not for sums", () => {
  const many = { count: 3, min: 1, max: 9 };
  expect(lineOfCells("m", [cellOf("m", 1, 5, "timer", many), cellOf("m", 2, 5, "timer")])).toMatchObject({ low: [1, 5], high: [9, 5] });
  expect(lineOfCells("m", [cellOf("m", 1, 5, "counter", many)]).low).toBeUndefined();
  expect(lineOfCells("m", cells(1, 2)).low).toBeUndefined();
});

test("lines are named by their tags, and by their expression where there are several", () => {
  const irs = answerOf("avg(a) GROUP BY agency", 10, [[0, 1]], { agency: "irs" });
  expect(linesOfAnswers([irs])[0]!.name).toBe("agency irs");
  expect(linesOfAnswers([irs, answerOf("b", 10, [[0, 1]])]).map(({ name }) => name)).toEqual(["avg(a) GROUP BY agency agency irs", "b"]);
  expect(linesOfAnswers([answerOf("b", 10, [[0, 1]])])[0]!.name).toBe("b");
});

test("history goes on with live cells, and a step they overlap is theirs", () => {
  const past = line("m", [0, 10, 20, 30], [1, 2, 3, 4]);
  expect(spliced(past, 10, line("m", [35, 36], [7, 8]))).toMatchObject({ times: [0, 10, 20, 35, 36], values: [1, 2, 3, 7, 8] });
  expect(spliced(past, 10, line("m", [], []))).toMatchObject({ times: [0, 10, 20, 30] });
  expect(spliced(line("m", [], []), 10, line("m", [5], [1]))).toMatchObject({ times: [5], values: [1] });
});

test("the band of history goes on along the line where live cells have none", () => {
  const past = lineOfHistory("m", [answerOf("a", 10, [[0, 5]]), answerOf("b", 10, [[0, 1]]), answerOf("c", 10, [[0, 9]])]);
  expect(spliced(past, 10, line("m", [10, 11], [5, 6]))).toMatchObject({ low: [1, 5, 6], high: [9, 5, 6] });
});

test("history of an unknown metric is an empty line", () => {
  expect(lineOfHistory("m", [{ expr: "a", step: 10, series: [] }])).toMatchObject({ times: [], values: [] });
});

test("clipping keeps a sample on either side", () => {
  const long = line("m", [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]);
  expect(clipped(long, 2, 3).times).toEqual([1, 2, 3, 4]);
  expect(clipped(long, 0, 5)).toBe(long);
  expect(clipped(long, 10, 20).times).toEqual([5]);
  expect(clipped(line("m", [], []), 0, 1).times).toEqual([]);
});

test("lines share one time axis: null is a gap, undefined is not", () => {
  expect(aligned([line("a", [1, 2, 4], [10, null, 40]), line("b", [2, 3], [5, 6])])).toEqual([
    [1, 2, 3, 4], [10, null, undefined, 40], [undefined, 5, 6, undefined],
  ]);
  expect(aligned([])).toEqual([[]]);
});
