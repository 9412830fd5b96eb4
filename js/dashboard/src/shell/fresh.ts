/**
 * How fresh the data is, in words. The age is counted by this computer from the moment the newest second came in, so a
 * clock that is wrong on either side cannot make old data look new.
 */

import type { LiveState } from "@hms-ops/core";
import { span } from "../kit/format";

export type Freshness = "connecting" | "live" | "late" | "lost" | "paused";

/** Seconds come once a second; after this many without one the data is late. */
export const LATE_SECONDS = 5;
export const SKEW_TOLD_SECONDS = 5;

export interface Fresh {
  readonly is: Freshness;
  /** Seconds since the newest data came in; null when none has. */
  readonly age: number | null;
  /** For the bar: "Live", "No data for 42 s". */
  readonly words: string;
}

export function freshness(state: LiveState, now_ms: number, isPaused: boolean): Fresh {
  const age = state.second === null ? null : Math.max(0, (now_ms - state.receivedAt) / 1000);
  const is = kindOf(state, age, isPaused);
  return { is, age, words: wordsOf(is, age) };
}

function kindOf(state: LiveState, age: number | null, isPaused: boolean): Freshness {
  if (isPaused) return "paused";
  if (age === null) return state.connection === "reconnecting" || state.connection === "closed" ? "lost" : "connecting";
  if (age < LATE_SECONDS) return "live";
  return state.connection === "live" ? "late" : "lost";
}

function wordsOf(is: Freshness, age: number | null): string {
  const since = age === null ? "" : span(Math.floor(age));
  switch (is) {
    case "live":
      return "Live";
    case "paused":
      return "Paused";
    case "connecting":
      return "Connecting";
    case "late":
      return `No data for ${since}`;
    case "lost":
      return age === null ? "Not connected" : `Not connected for ${since}`;
  }
}

/** Whether what is shown may be taken for the present. */
export const isStale = (is: Freshness): boolean => is === "late" || is === "lost";
