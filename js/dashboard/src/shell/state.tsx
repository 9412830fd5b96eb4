/** What the whole page shares about the stream: whether it is fresh, whether it is paused, and what the title and icon say. */

import { useEffect, useSyncExternalStore } from "react";
import { useAlerts, useLive, useLiveState } from "@hms-ops/react";
import { heard, useNow } from "../kit/clock";
import { setFiring } from "../kit/title";
import { freshness, isStale, type Fresh } from "./fresh";
import { showIcon } from "./icon";

let isPaused = false;
const listeners = new Set<() => void>();

export function setPaused(next: boolean): void {
  isPaused = next;
  for (const changed of [...listeners]) changed();
}

function subscribe(changed: () => void): () => void {
  listeners.add(changed);
  return () => listeners.delete(changed);
}

export const usePaused = (): boolean => useSyncExternalStore(subscribe, () => isPaused);
export const paused = (): boolean => isPaused;

/** How fresh the data is, anew each second: also when nothing arrives that would say so. */
export function useFresh(): Fresh {
  useNow();
  const state = useLiveState();
  return freshness(state, Date.now(), usePaused());
}

/** The same in one word: renders only when it changes. */
export const useIsStale = (): boolean => isStale(useFresh().is);

/** Keeps the clock, the title, the icon and the page's `data-stale` as the stream says. Shows nothing. */
export function Keeper() {
  const live = useLive();
  const { second, receivedAt } = useLiveState();
  const fresh = useFresh();
  const pausing = usePaused();
  const { alerts } = useAlerts();
  const firing = alerts.filter((alert) => alert.state === "firing").length;
  const isLost = isStale(fresh.is);
  useEffect(() => {
    if (second !== null && !pausing) heard(second, receivedAt);
  }, [second, receivedAt, pausing]);
  useEffect(() => (pausing ? live.pause() : live.resume()), [live, pausing]);
  useEffect(() => setFiring(firing, isLost), [firing, isLost]);
  const look = isLost ? "lost" : firing ? "bad" : alerts.length ? "pending" : second === null ? "waiting" : "good";
  useEffect(() => showIcon(look), [look]);
  useEffect(() => {
    document.documentElement.toggleAttribute("data-stale", isLost);
    return () => document.documentElement.removeAttribute("data-stale");
  }, [isLost]);
  return null;
}
