/**
 * The engine's time, as well as a browser can know it. Clocks of two machines differ: ages are counted by the engine's,
 * estimated from the newest second of the stream (which arrives within a second of its end).
 */

import { useSyncExternalStore } from "react";

let offset_ms = 0;
let isKnown = false;
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;
let now = Date.now();

const STEP_MS = 90_000; // more than the stream ever sends again: somebody has set a clock

/**
 * The stream's newest second and when (Date.now()) it came. A second can come late, never early: the one that says most
 * is believed at once, a later one little by little.
 */
export function heard(second: number, receivedAt: number): void {
  const next = (second + 1) * 1000 - receivedAt;
  const isBelieved = !isKnown || next > offset_ms || next < offset_ms - STEP_MS;
  offset_ms = isBelieved ? next : offset_ms + (next - offset_ms) / 32;
  isKnown = true;
}

/** Unix seconds by the engine's clock. */
export const engineNow = (): number => (Date.now() + offset_ms) / 1000;

/** How many seconds this computer's clock is ahead of the engine's (negative: behind); 0 until known. */
export const skew = (): number => (isKnown ? -offset_ms / 1000 : 0);

function subscribe(changed: () => void): () => void {
  listeners.add(changed);
  timer ??= setInterval(beat, 1000);
  return () => {
    listeners.delete(changed);
    if (!listeners.size) timer = void clearInterval(timer) as undefined;
  };
}

function beat(): void {
  now = Date.now();
  for (const changed of [...listeners]) changed();
}

/** Unix seconds by the engine's clock, new each `every` seconds: for "3 min ago". */
export function useNow(every = 1): number {
  const step_ms = every * 1000;
  const beatNow = useSyncExternalStore(subscribe, () => Math.floor((listeners.size ? now : Date.now()) / step_ms) * step_ms);
  return (beatNow + offset_ms) / 1000;
}
