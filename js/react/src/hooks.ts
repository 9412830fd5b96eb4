/**
 * What an engine says, as React reads it. Snapshots are Live's own arrays, the same until they change, so that
 * `useSyncExternalStore` neither loops nor tears; on a server all of them are empty.
 */
import { useCallback, useEffect, useMemo, useState, useSyncExternalStore } from "react";
import type { AlertsAnswer, Cell } from "@hms-ops/client";
import type { Live, LiveState } from "@hms-ops/core";
import { useLiveIfAny } from "./provider.js";

/** Seconds of cells that the stream sends at once when a metric is first asked for. */
export const AT_ONCE_SECONDS = 60;

const NO_CELLS: readonly Cell[] = [];
const NO_ALERTS: AlertsAnswer = { alerts: [], rules: [] };
const NO_STATE: LiveState = { connection: "connecting", second: null, receivedAt: 0, gaps: 0, error: null };
const nothing = (): void => {};

/** One of Live's snapshots: `watch` subscribes, `read` reads; both must be stable for as long as they mean the same. */
export function useWatched<T>(watch: (live: Live, changed: () => void) => () => void, read: (live: Live) => T, empty: T): T {
  const live = useLiveIfAny();
  const subscribe = useCallback((changed: () => void) => (live ? watch(live, changed) : nothing), [live, watch]);
  return useSyncExternalStore(subscribe, () => (live ? read(live) : empty), () => empty);
}

/** The newest cells of a metric, pooled over its series, oldest first: those of the last `seconds`. */
export function useCells(metric: string, seconds: number = AT_ONCE_SECONDS): readonly Cell[] {
  const watch = useCallback(
    (live: Live, changed: () => void) => (metric ? live.watch(metric, changed, { seconds }) : nothing),
    [metric, seconds],
  );
  const cells = useWatched(watch, (live) => (metric ? live.cells(metric) : NO_CELLS), NO_CELLS);
  return useMemo(() => newest(cells, seconds), [cells, seconds]);
}

/** The same array where nothing is too old: another piece may keep more of the metric. */
export function newest(cells: readonly Cell[], seconds: number): readonly Cell[] {
  const last = cells.at(-1);
  const from = cells.findIndex((cell) => cell.time > last!.time - seconds);
  return from > 0 ? cells.slice(from) : cells;
}

const watchAlerts = (live: Live, changed: () => void) => live.watchAlerts(changed);
const readAlerts = (live: Live) => live.alerts();

/** What is pending or firing, and the rules there are; read again after each change. */
export const useAlerts = (): AlertsAnswer => useWatched(watchAlerts, readAlerts, NO_ALERTS);

const watchState = (live: Live, changed: () => void): (() => void) => live.watchState(changed);
const readState = (live: Live) => live.state();

/** The connection, and the newest second that came; it changes each second. */
export const useLiveState = (): LiveState => useWatched(watchState, readState, NO_STATE);

/** The latest value of a metric: NaN before the first cell, and once the metric has ended. Of a rule: 1 while it fires, else 0. */
export function useMetric(metric: string): number {
  const cells = useCells(metric);
  const { alerts, rules } = useAlerts();
  const last = cells.at(-1);
  if (last) return last.value ?? NaN;
  if (!rules.some((rule) => rule.alert === metric)) return NaN;
  return alerts.some((alert) => alert.name === metric && alert.state === "firing") ? 1 : 0;
}

/** Seconds without the stream after which nobody knows any more: a light that stays green would be a lie. */
const BLIND_SECONDS = 10;

function readHearing(live: Live): "live" | "waiting" | "lost" {
  const { connection, second } = live.state();
  return connection === "reconnecting" || connection === "closed" ? "lost" : second == null ? "waiting" : "live";
}

/** Whether the stream has told anything, and still does. A word, so that who asks is not rendered each second. */
export function useHearing(): "live" | "waiting" | "unknown" {
  const heard = useWatched(watchState, readHearing, "waiting");
  const [told, tell] = useState<"live" | "waiting" | "unknown">("waiting");
  useEffect(() => {
    if (heard !== "lost") return tell(heard);
    const timer = setTimeout(() => tell("unknown"), BLIND_SECONDS * 1000);
    return () => clearTimeout(timer);
  }, [heard]);
  return heard === "lost" ? told : heard;
}
