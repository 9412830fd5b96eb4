// @vitest-environment jsdom
import { drawn, stubCanvas } from "./canvas.js";
import { act, cleanup, fireEvent, render, screen, within } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { MetricChart, OpsProvider, type MetricChartProps } from "@hms-ops/react";
import { FakeLive } from "./fake.js";

const T0 = 1_700_000_000;
let live: FakeLive;

beforeEach(() => {
  vi.useFakeTimers();
  stubCanvas();
  drawn.length = 0;
  live = new FakeLive();
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

const shown = (props: MetricChartProps) =>
  render(<StrictMode><OpsProvider live={live}><MetricChart {...props} /></OpsProvider></StrictMode>);
const second = (at: number, value: number | null, kind: "gauge" | "timer" = "timer") =>
  act(() => live.second(T0 + at, { "db.write_ms": value }, kind));
const frames = () => act(() => vi.advanceTimersByTime(50));
const press = (key: string, more = {}) => fireEvent.keyDown(screen.getByRole("figure"), { key, ...more });
const said = () => {
  act(() => vi.advanceTimersByTime(200));
  return document.querySelector("[aria-live]")!.textContent;
};

test("a chart is a focusable figure named by its title, with its value as text", () => {
  shown({ metric: "db.write_ms", title: "Write latency", unit: "ms" });
  for (let at = 0; at < 5; at++) second(at, 200 + at);
  const figure = screen.getByRole("figure", { name: "Write latency" });
  expect(figure.tabIndex).toBe(0);
  expect(within(figure).getByText("204 ms")).toBeTruthy();
  frames();
  expect(figure.querySelector("canvas")).toBeTruthy();
});

test("arrow keys read the samples out, once the keys rest", () => {
  shown({ metric: "db.write_ms", title: "Write latency", unit: "ms" });
  for (let at = 0; at < 5; at++) second(at, 200 + at);
  press("ArrowLeft");
  press("ArrowLeft");
  press("ArrowLeft");
  expect(said()).toMatch(/^\d\d:\d\d:\d\d, Write latency 202 ms, 3 of 5$/);
  press("Home");
  expect(said()).toMatch(/200 ms, 1 of 5$/);
  press("Escape");
  expect(said()).toBe("");
});
