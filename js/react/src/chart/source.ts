/** Where a chart's lines come from: the stream, history, one after the other; and the window they are shown in. */
import { useCallback, useMemo, useRef } from "react";
import type { Cell, Kind } from "@hms-ops/client";
import type { Live } from "@hms-ops/core";
import { AT_ONCE_SECONDS, newest, useWatched } from "../hooks.js";
import { useQueries } from "../query.js";
import { lineOf, linesOfAnswers, rowsOfCells, rowsOfHistory, spliced, type Line } from "./lines.js";
import type { Window } from "./reading.js";

export interface SourceOptions {
  metric?: string | undefined;
  exprs?: readonly string[] | undefined;
  title: string;
  kind?: Kind | undefined;
  seconds?: number | undefined;
  range?: number | undefined;
  from?: number | undefined;
  to?: number | undefined;
  every?: number | undefined;
  /** The window that the reader has zoomed to. */
  zoomed: Window | null;
  isPaused: boolean;
  points: number;
}

export interface Source {
  readonly lines: readonly Line[];
  readonly window: Window;
  readonly error: string | null;
  readonly isLoading: boolean;
}

/** Cells that a chart keeps; what lies before comes from history. */
const TAIL_SECONDS_MAX = 900;
const EXPRS_EVERY_SECONDS = 10;
const NO_TAIL: readonly Cell[] = [];

export function useSource(options: SourceOptions): Source {
  const { metric = "", exprs, range, from, to, every, zoomed, isPaused, points } = options;
  const seconds = range ?? options.seconds ?? AT_ONCE_SECONDS;
  const isStatic = from != null && to != null;
  const fixed = useWindow(zoomed ?? (isStatic ? { from, to } : null));
  const hasHistory = isStatic || range != null;
  const tail = useTail(metric, Math.min(seconds, TAIL_SECONDS_MAX), isStatic ? Infinity : every ?? 1);
  const asked = useAsked(metric, exprs, hasHistory, options.kind ?? tail.kind);
  const again = exprs?.length ? every ?? EXPRS_EVERY_SECONDS : seconds > TAIL_SECONDS_MAX ? TAIL_SECONDS_MAX / 3 : undefined;
  const past = useQueries(asked, fixed ? { start: fixed.from, end: fixed.to, points } : { range: seconds, points, every: isPaused ? undefined : again });
  const now = useMemo((): Source => {
    const { error, loading } = past, answers = past.data ?? [], step = answers[0]?.step ?? 0;
    if (exprs?.length) {
      const lines = linesOfAnswers(answers);
      return { error, isLoading: loading, lines, window: fixed ?? endingAt(endOf(lines, step), seconds) };
    }
    const rows = spliced(rowsOfHistory(answers.map(({ series }) => series[0]?.points)), step, rowsOfCells(isStatic ? NO_TAIL : tail.cells));
    const lines = rows.length ? [lineOf(metric, options.title, rows)] : [];
    return { error, isLoading: loading || tail.second == null, lines, window: fixed ?? endingAt(tail.second ?? 0, seconds) };
  }, [past.data, past.error, past.loading, tail, fixed, seconds, options.title, isStatic, exprs?.length]);
  // Zoomed into what only the stream has, the chart stands still: else what is looked at would slide out of memory.
  return useHeld(now, isPaused || (zoomed != null && !hasHistory && !exprs?.length), zoomed);
}

const endingAt = (to: number, seconds: number): Window => ({ from: to - seconds, to });
const endOf = (lines: readonly Line[], step: number): number =>
  Math.max(0, ...lines.map(({ times }) => (times.at(-1) ?? 0) + step));

/** The same object for the same window. */
function useWindow(window: Window | null): Window | null {
  return useMemo(() => window && { from: window.from, to: window.to }, [window?.from, window?.to]);
}

/** The last value from before it was to stand still; a zoom moves its window all the same. */
function useHeld(now: Source, isHeld: boolean, zoomed: Window | null): Source {
  const held = useRef(now);
  if (!isHeld) held.current = now;
  return zoomed ? { ...held.current, window: zoomed } : held.current;
}

interface Tail {
  readonly cells: readonly Cell[];
  readonly second: number | null;
  readonly kind: Kind | undefined;
  /** Which of the updates, `every` seconds apart. */
  readonly beat: number | null;
}

/** The newest cells, taken each `every` seconds: in between the chart stands still, and nothing is rendered. */
function useTail(metric: string, seconds: number, every: number): Tail {
  const watch = useCallback((live: Live, changed: () => void) => {
    if (!metric) return () => {};
    const ends = [live.watch(metric, changed, { seconds }), live.watchState(changed)];
    return () => ends.forEach((end) => end());
  }, [metric, seconds]);
  const taken = useMemo(() => ({ current: EMPTY }), [metric, seconds, every]);
  const read = useCallback((live: Live): Tail => {
    if (!metric) return taken.current;
    const { second } = live.state(), cells = live.cells(metric), was = taken.current;
    const beat = second == null ? null : Math.floor(second / every);
    if (beat !== was.beat || !was.cells.length !== !cells.length) {
      const kind = cells.at(-1)?.kind ?? (second == null ? undefined : "unknown");
      taken.current = { cells: newest(cells, seconds), second, kind, beat };
    }
    return taken.current;
  }, [metric, seconds, every, taken]);
  return useWatched(watch, read, EMPTY);
}

const EMPTY: Tail = { cells: NO_TAIL, second: null, kind: undefined, beat: null };

/** What history is asked: what the stream's value of the kind is over a longer step, its least and most beside it. */
function useAsked(metric: string, exprs: readonly string[] | undefined, hasHistory: boolean, kind: Kind | undefined): readonly string[] {
  const key = exprs?.join("\n");
  return useMemo(() => {
    if (exprs?.length) return exprs;
    if (!metric || !hasHistory || !kind || kind === "set") return [];
    const name = JSON.stringify(metric);
    return (kind === "counter" ? ["rate"] : ["avg", "min", "max"]).map((of) => `${of}(${name})`);
  }, [metric, key, hasHistory, kind]);
}
