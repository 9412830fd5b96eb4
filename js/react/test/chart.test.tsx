// @vitest-environment jsdom
import { leftBehind, live, pass, second, shown, T0 } from "./setup.js";
import { act, fireEvent, screen, within } from "@testing-library/react";
import { expect, test, vi } from "vitest";
import { MetricChart } from "@hms-ops/react";
import { drawAnomalies } from "../src/chart/draw.js";
import { lineOf, tagsText } from "../src/chart/lines.js";
import { drawn, setMedia } from "./canvas.js";
import { answerOf } from "./fake.js";

const LATENCY = { metric: "db.write_ms", title: "Write latency", unit: "ms" };
const figure = () => screen.getByRole("figure");
const press = (key: string, more = {}) => fireEvent.keyDown(figure(), { key, ...more });
const said = async () => (await pass(200), document.querySelector("[aria-live]")!.textContent);
const plot = () => screen.getByRole("application");
const summary = () => document.getElementById(plot().getAttribute("aria-describedby")!.split(" ")[0]!)!.textContent!;
const value = () => document.querySelector(".ops-chart-value")!.textContent;

function climb(seconds = 5): void {
  for (let at = 0; at < seconds; at++) second(at, 200 + at);
}

test("a chart is a focusable figure named by its title, with its value as text", async () => {
  shown(<MetricChart {...LATENCY} />);
  climb();
  expect(screen.getByRole("figure", { name: "Write latency" }).tabIndex).toBe(-1);
  expect(screen.getByRole("application", { name: "Write latency" }).tabIndex).toBe(0); // where Tab stops and arrows work
  expect(within(figure()).getByText("204 ms")).toBeTruthy();
  await pass(50);
  expect(figure().querySelector("canvas")!.closest("[aria-hidden]")).toBeTruthy();
});

test("without a title it is named by what it shows", () => {
  shown(<><MetricChart metric="db.write_ms" /><MetricChart exprs={["avg(a)", "max(a)"]} /></>);
  expect(screen.getByRole("figure", { name: "db.write_ms" })).toBeTruthy();
  expect(screen.getByRole("figure", { name: "avg(a), max(a)" })).toBeTruthy();
});

test("it says that it waits, then that there is nothing, then what there is", () => {
  shown(<MetricChart {...LATENCY} />);
  expect(summary()).toBe("Write latency: Waiting for samples");
  second(0, null);
  expect(screen.getByText("No samples")).toBeTruthy();
  second(1, 212);
  expect(summary()).toMatch(/Write latency: 212 ms at/);
});

test("arrow keys read the samples out, once, when the keys rest", async () => {
  shown(<MetricChart {...LATENCY} />);
  climb();
  for (let times = 0; times < 3; times++) press("ArrowLeft");
  expect(document.querySelector("[aria-live]")!.textContent).toBe("");
  expect(await said()).toMatch(/^\d\d:\d\d:\d\d, Write latency 202 ms, 3 of 5$/);
  press("Home");
  expect(await said()).toMatch(/200 ms, 1 of 5$/);
  expect(value()).toMatch(/200 ms$/);
  press("Escape");
  expect(await said()).toBe("");
  expect(value()).toBe("204 ms");
});

test("keys that are the chart's are taken, others are the page's", () => {
  shown(<MetricChart {...LATENCY} />);
  climb();
  expect(press("ArrowLeft")).toBe(false);
  expect(press("Escape")).toBe(false);
  expect(press("Escape")).toBe(true);
  expect(press("Tab")).toBe(true);
  expect(press("ArrowLeft", { ctrlKey: true })).toBe(true);
  expect(fireEvent.keyDown(screen.getByRole("button", { name: "Pause" }), { key: "ArrowLeft" })).toBe(true);
});

test("the cursor stays on its sample while the window moves on, and is not announced again", async () => {
  shown(<MetricChart {...LATENCY} />);
  climb();
  press("Home");
  const before = await said();
  second(5, 250);
  expect(value()).toMatch(/200 ms$/);
  expect(await said()).toBe(before);
  for (let at = 6; at < 70; at++) second(at, 300 + at);
  expect(value()).toMatch(/310 ms$/); // the first that is left in the window
});

test("the summary is written anew every 30 s at most, and when the reader comes", () => {
  shown(<MetricChart {...LATENCY} />);
  second(0, 200);
  for (let at = 1; at < 29; at++) (vi.advanceTimersByTime(1000), second(at, 300));
  expect(summary()).toMatch(/200 ms at/);
  fireEvent.focus(figure());
  expect(summary()).toMatch(/300 ms at/);
  for (let at = 29; at < 62; at++) (vi.advanceTimersByTime(1000), second(at, 400));
  expect(summary()).toMatch(/400 ms at/);
});

test("it can be read as a table, newest first, and back; updates leave that alone", async () => {
  shown(<MetricChart {...LATENCY} anomalies={[{ from: T0 + 1, to: T0 + 2, name: "a jump" }]} />);
  climb();
  fireEvent.click(screen.getByRole("button", { name: "View as table" }));
  const table = screen.getByRole("table", { name: "Write latency, newest first" });
  expect(within(table).getAllByRole("columnheader").map((one) => one.textContent)).toEqual(["Time", "Value", "Anomaly"]);
  const rows = () => within(screen.getByRole("table")).getAllByRole("row").slice(1).map((row) => row.textContent!.replace(/^.*\d\d:\d\d:/, ""));
  expect(rows()).toEqual(["24204 ms", "23203 ms", "22202 msa jump", "21201 msa jump", "20200 ms"]);
  expect(within(table).getAllByRole("rowheader")[0]!.textContent).toMatch(/^Nov 1\d, 2023, \d\d:13:24$/);
  second(5, 205);
  expect(rows()[0]).toBe("25205 ms");
  expect(document.querySelector("canvas")).toBeNull();
  fireEvent.click(screen.getByRole("button", { name: "View as chart" }));
  await pass(50);
  expect(document.querySelector("canvas")).toBeTruthy();
});

test("a table has 200 rows and says how many more there are", () => {
  shown(<MetricChart {...LATENCY} seconds={500} />);
  climb(450);
  fireEvent.click(screen.getByRole("button", { name: "View as table" }));
  expect(screen.getAllByRole("row")).toHaveLength(201);
  expect(screen.getByText(/^250 older samples/)).toBeTruthy();
});

test("several lines have a legend whose buttons show and hide them", async () => {
  live.answer = ({ parameters }) => ({
    expr: parameters["expr"], step: 10,
    series: ["irs", "ssa"].map((agency, at) => ({ metric: "m", tags: { agency }, points: [[T0, 1 + at], [T0 + 10, 3 + at]] })),
  });
  shown(<MetricChart exprs={["avg(m) GROUP BY agency"]} title="By agency" />);
  await pass(10);
  const irs = screen.getByRole("button", { name: "agency irs" });
  expect(irs.getAttribute("aria-pressed")).toBe("true");
  expect(irs.parentElement!.textContent).toBe("agency irs3");
  press("PageDown");
  expect(await said()).toMatch(/agency irs 3, 2 of 2$/);
  press("PageDown");
  expect(await said()).toMatch(/agency ssa 4, 2 of 2$/);
  fireEvent.click(irs);
  expect(irs.getAttribute("aria-pressed")).toBe("false");
  expect(summary()).not.toMatch(/irs/);
  const dashes = [...document.querySelectorAll(".ops-swatch path:first-child")].map((path) => path.getAttribute("stroke-dasharray"));
  const shapes = [...document.querySelectorAll(".ops-swatch path:last-child")].map((path) => path.getAttribute("d"));
  expect([new Set(dashes).size, new Set(shapes).size]).toEqual([2, 2]);
});

test("history is asked for once, by the metric's kind, and goes on live", async () => {
  live.answer = ({ parameters }) => answerOf(String(parameters["expr"]), 10, [[T0 - 30, 1], [T0 - 20, 2], [T0 - 10, 3]]);
  shown(<MetricChart {...LATENCY} range={900} />);
  second(0, 5, "counter");
  await pass(10);
  second(1, 6, "counter");
  await pass(2000);
  const asked = live.asked.map(({ parameters }) => parameters["expr"]);
  expect(new Set(asked)).toEqual(new Set(['rate("db.write_ms")']));
  expect(live.asked.at(-1)!.parameters).toMatchObject({ start: T0 - 900, points: 300 });
  expect(live.asked.length).toBeLessThanOrEqual(2); // StrictMode asks twice
  press("ArrowLeft");
  expect(await said()).toMatch(/6 ms, 5 of 5$/);
});

test("timers' history comes with its least and most; names are quoted", async () => {
  shown(<MetricChart metric={'odd "name\\'} range={900} />);
  act(() => live.second(T0, { 'odd "name\\': 1 }, "timer"));
  await pass(10);
  expect(new Set(live.asked.map(({ parameters }) => parameters["expr"]))).toEqual(
    new Set(["avg", "min", "max"].map((of) => `${of}("odd \\"name\\\\")`)));
});

test("what history refuses is said in the engine's words, and live goes on", async () => {
  live.answer = () => {
    throw Object.assign(new Error("HTTP 400"), { problem: { detail: "no such metric" } });
  };
  shown(<MetricChart {...LATENCY} range={900} />);
  climb();
  await pass(10);
  expect(screen.getByText("Out of date: no such metric")).toBeTruthy();
  expect(screen.getByText("204 ms")).toBeTruthy();
});

test("paused it stands still, and goes on with what came meanwhile", () => {
  shown(<MetricChart {...LATENCY} />);
  climb();
  fireEvent.click(screen.getByRole("button", { name: "Pause" }));
  second(5, 999);
  expect(value()).toBe("204 ms");
  fireEvent.click(screen.getByRole("button", { name: "Pause" }));
  expect(value()).toBe("999 ms");
});

test("a page that pauses all has no button of ours", () => {
  shown(<MetricChart {...LATENCY} paused />);
  expect(screen.queryByRole("button", { name: "Pause" })).toBeNull();
});

test("readers who prefer less motion see a step every 5 s, unless asked otherwise", () => {
  setMedia("(prefers-reduced-motion: reduce)", true);
  const { unmount } = shown(<MetricChart {...LATENCY} />);
  const seen = new Set<string | null>();
  for (let at = 0; at < 20; at++) (second(at, 200 + at), seen.add(value()));
  expect([...seen]).toEqual(["200 ms", "205 ms", "210 ms", "215 ms"]);
  unmount();
  shown(<MetricChart {...LATENCY} every={1} />);
  second(20, 1);
  expect(value()).toBe("1 ms");
  second(21, 2);
  expect(value()).toBe("2 ms");
});

test("keys zoom around the cursor; the page is told, once it rests; 0 goes back", async () => {
  const ranges: unknown[] = [];
  shown(<MetricChart {...LATENCY} onRange={(range) => ranges.push(range)} />);
  climb(60);
  press("End");
  press("+");
  press("+");
  expect(ranges).toEqual([]);
  await pass(300);
  expect(ranges).toEqual([{ from: T0 + 44, to: T0 + 59 }]); // behind the newest sample there is nothing yet
  second(60, 1);
  expect(value()).toMatch(/259 ms/);
  expect(screen.getByRole("button", { name: "Reset zoom" })).toBeTruthy();
  press("0");
  expect(ranges).toEqual([ranges[0], null]);
  expect(screen.queryByRole("button", { name: "Reset zoom" })).toBeNull();
});

test("a range the page gives takes the place of the zoom, and has a way back", async () => {
  live.answer = ({ parameters }) => answerOf(String(parameters["expr"]), 10, [[T0 - 100, 7]]);
  const ranges: unknown[] = [];
  shown(<MetricChart {...LATENCY} from={T0 - 200} to={T0} onRange={(range) => ranges.push(range)} />);
  second(0, 1);
  await pass(10);
  expect(value()).toBe("7 ms");
  fireEvent.click(screen.getByRole("button", { name: "Reset zoom" }));
  expect(ranges).toEqual([null]);
});

test("dozens of charts are drawn in one frame, and a chart that nobody sees not at all", async () => {
  let sight: ((entries: { isIntersecting: boolean }[]) => void) | undefined;
  vi.stubGlobal("IntersectionObserver", class {
    constructor(changed: typeof sight) {
      sight = changed;
    }
    observe(): void {}
    disconnect(): void {}
  });
  shown(<MetricChart {...LATENCY} />);
  climb();
  await pass(50);
  act(() => sight!([{ isIntersecting: false }]));
  drawn.length = 0;
  second(6, 300);
  await pass(50);
  expect(drawn).toHaveLength(0);
  expect(value()).toBe("300 ms");
  act(() => sight!([{ isIntersecting: true }]));
  await pass(50);
  expect(drawn.length).toBeGreaterThan(0);
});

test("twenty charts ask for one frame", () => {
  shown(<>{Array.from({ length: 20 }, (_, at) => <MetricChart key={at} {...LATENCY} />)}</>);
  const frames = vi.spyOn(globalThis, "requestAnimationFrame");
  climb(1);
  expect(frames).toHaveBeenCalledTimes(1);
  frames.mockRestore();
});

test("anomalies are shaded with a hatch and a name, thresholds have words", async () => {
  shown(<MetricChart {...LATENCY} anomalies={[{ from: T0 + 1, to: T0 + 3, name: "a jump" }]} thresholds={[{ value: 202, name: "limit" }]} />);
  climb(30);
  drawn.length = 0;
  second(31, 200);
  await pass(50);
  const texts = drawn.filter(([name]) => name === "fillText").map(([, [text]]) => text);
  expect(texts).toContain("a jump");
  expect(texts).toContain("limit 202 ms");
  expect(drawn.some(([name]) => name === "setLineDash")).toBe(true);
});

test("names of anomalies end where the canvas does, stand below each other where they would overlap, and are cut", () => {
  const ctx = document.createElement("canvas").getContext("2d")!;
  ctx.canvas.width = 600;
  const plot = { ctx, bbox: { left: 50, top: 0, width: 550, height: 100 }, scales: { x: { min: 0, max: 110 } }, valToPos: (time: number) => 50 + time * 5 };
  const theme = { fontSize: 16, fontFamily: "sans-serif", anomaly: "#707", ground: "#fff" };
  const named = (name: string, from: number) => ({ from, to: from + 2, name });
  drawn.length = 0;
  drawAnomalies(plot as never, theme as never, [named("a jump", 10), named("another", 60), named("db.archive jump", 105), named(`\u202e${"x".repeat(60)}`, 106)]);
  const names = drawn.filter(([name]) => name === "fillText").map(([, given]) => given as [string, number, number]);
  expect(names.map(([text]) => text)).toEqual(["a jump", "another", "db.archive jump", `‹U+202E›${"x".repeat(29)}…`]);
  expect(names.map(([text, x]) => [x, x + text.length * 7 <= 600])).toEqual([[104, true], [354, true], [495, true], [334, true]]);
  expect(names.map(([, , y]) => y)).toEqual([16, 16, 16, 32]);
});

test("what would turn or hide text is seen in titles, legends and tables", () => {
  expect(lineOf("a", "x\u202ey", []).name).toBe("x‹U+202E›y");
  expect(tagsText({ host: "a\nb" })).toBe("host a‹LF›b");
  shown(<MetricChart {...LATENCY} title={"evil\u202e"} />);
  expect(screen.getByRole("figure").textContent).toContain("evil‹U+202E›");
});

test("a chart that has left keeps nothing: no watcher, no timer, no listener", async () => {
  const added: unknown[] = [];
  const add = vi.spyOn(document, "addEventListener").mockImplementation((...given) => void added.push(given));
  const { unmount } = shown(<MetricChart {...LATENCY} range={3600} />);
  add.mockRestore();
  climb();
  await pass(50);
  press("ArrowLeft");
  unmount();
  await pass(10_000);
  expect(leftBehind()).toEqual({ watchers: 0, timers: 0, media: 0, observed: 0 });
  expect(added).toEqual([]);
});
