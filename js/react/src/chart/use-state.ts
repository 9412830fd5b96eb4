/** Small pieces of a chart's state: its zoom, its summary, what it says, whether the reader wants less motion. */
import { useEffect, useMemo, useReducer, useRef, useState, useSyncExternalStore } from "react";
import type { Window } from "./reading.js";

/** Readers hear of a new summary this often at most. */
const SUMMARY_EVERY_MS = 30_000;
/** Keys that follow each other sooner are spoken of once, at their end. */
const SAY_AFTER_MS = 150;
/** A page is told of a new range when the reader has rested. */
const TELL_AFTER_MS = 250;
const ZOOM_SECONDS_MIN = 5;
const CALM = "(prefers-reduced-motion: reduce)";

export interface Zoom {
  readonly window: Window | null;
  set(window: Window): void;
  reset(): void;
  /** Zoom by key around a time; whether the key was one of zooming. */
  key(key: string, window: Window, around?: number): boolean;
  /** An arrow at the edge of a zoomed window moves it on. */
  pan(key: string, window: Window): void;
}

/** What the reader has zoomed to, until the page gives another range. */
export function useZoom(from: number | undefined, to: number | undefined, onRange: ((range: Window | null) => void) | undefined): Zoom {
  const [window, set] = useState<Window | null>(null);
  const told = useRef<Window | null>(null), tell = useRef(onRange);
  useEffect(() => void (tell.current = onRange));
  useEffect(() => set((told.current = null)), [from, to]);
  useEffect(() => {
    if (window === told.current) return;
    const timer = setTimeout(() => {
      told.current = window;
      tell.current?.(window);
    }, TELL_AFTER_MS);
    return () => clearTimeout(timer);
  }, [window]);
  return useMemo(() => zoomOf(window, set, () => {
    set((told.current = null));
    tell.current?.(null);
  }), [window]);
}

function zoomOf(window: Window | null, set: (window: Window) => void, reset: () => void): Zoom {
  const scaled = (shown: Window, share: number, around = (shown.from + shown.to) / 2): void => {
    const seconds = Math.max(ZOOM_SECONDS_MIN, (shown.to - shown.from) * share);
    // Never beyond the right edge: behind the newest sample is what has not been yet. Arrows at the edge go on.
    const to = Math.min(around + seconds / 2, shown.to);
    set({ from: to - seconds, to });
  };
  return {
    window, set, reset,
    key(key, shown, around) {
      if (key === "0") reset();
      else if (key === "+" || key === "=") scaled(shown, 0.5, around);
      else if (key === "-") scaled(shown, 2, around);
      else return false;
      return true;
    },
    pan(key, shown) {
      const seconds = (key === "ArrowLeft" ? -1 : 1) * (shown.to - shown.from) / 4;
      if (window && key[0] === "A") set({ from: shown.from + seconds, to: shown.to + seconds });
    },
  };
}

/** A text that is written anew at most every 30 s, at once when it is about something else or the reader comes. */
export function useSlowly(write: () => string, about: string): { text: string; refresh: () => void } {
  const held = useRef({ text: "", about: "", at: -Infinity });
  const [, again] = useReducer((count: number) => count + 1, 0);
  const now = Date.now();
  if (held.current.about !== about || now - held.current.at >= SUMMARY_EVERY_MS) held.current = { text: write(), about, at: now };
  return { text: held.current.text, refresh: () => ((held.current.at = -Infinity), again()) };
}

/** What the live region says, and how to have it say something: once, and not before the keys rest. */
export function useSaid(): readonly [string, (text: string) => void] {
  const [said, set] = useState("");
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  return [said, (text) => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => set(text), SAY_AFTER_MS);
  }];
}

function watchCalm(changed: () => void): () => void {
  const query = matchMedia(CALM);
  query.addEventListener("change", changed);
  return () => query.removeEventListener("change", changed);
}

export const useReducedMotion = (): boolean =>
  useSyncExternalStore(watchCalm, () => matchMedia(CALM).matches, () => false);
