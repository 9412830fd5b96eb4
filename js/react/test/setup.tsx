/** What tests of pieces share: jsdom with a canvas, a clock of their own, a live they move. Import it first. */
import { mediaListenerCount, observed, setMedia, stubCanvas } from "./canvas.js";
import { act, cleanup, render } from "@testing-library/react";
import { StrictMode, type ReactNode } from "react";
import { afterEach, beforeEach, vi } from "vitest";
import { OpsProvider } from "@hms-ops/react";
import { FakeLive } from "./fake.js";

export const T0 = 1_700_000_000;
export let live: FakeLive;
let mediaBefore = 0; // uPlot's own, one for all

beforeEach(() => {
  vi.useFakeTimers({ now: T0 * 1000 });
  stubCanvas();
  live = new FakeLive();
  mediaBefore = mediaListenerCount();
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  setMedia("(prefers-reduced-motion: reduce)", false);
});

export const shown = (piece: ReactNode) => render(<StrictMode><OpsProvider live={live}>{piece}</OpsProvider></StrictMode>);

export const second = (at: number, value: number | null, kind: "gauge" | "timer" | "counter" = "timer"): void =>
  act(() => live.second(T0 + at, { "db.write_ms": value }, kind));

/** Let time pass, and what was promised in it come. */
export const pass = (ms: number): Promise<void> => act(async () => void (await vi.advanceTimersByTimeAsync(ms)));

/** What a page that has left must not have kept. */
export const leftBehind = (): object => ({ watchers: live.watchers.size, timers: vi.getTimerCount(), media: mediaListenerCount() - mediaBefore, observed: observed.size });
