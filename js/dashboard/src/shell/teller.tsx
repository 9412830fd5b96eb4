/**
 * Says once what has changed: alerts that fire or resolve, seconds that were lost, the connection that went and came
 * back. What comes within a second is told as one; numbers are never read out by themselves. Shows nothing.
 */

import { useEffect, useRef } from "react";
import type { AlertEvent, GapEvent } from "@hms-ops/client";
import { useLive } from "@hms-ops/react";
import { announce, toast } from "../kit/announce";
import { engineNow } from "../kit/clock";
import { clockTime, plural } from "../kit/format";
import { isStale } from "./fresh";
import { useFresh } from "./state";

export const BUNDLE_MS = 1_000;
/** A note about alerts is read within so long; they themselves stay where they are listed. */
const ALERT_NOTE_MS = 10_000;

export function Teller() {
  const live = useLive();
  useEffect(() => {
    const bundle = new Bundle();
    const end = live.watchEvents((event) => {
      if (event.type === "alert") bundle.alert(event);
      if (event.type === "gap") bundle.gap(event);
    });
    return () => (end(), bundle.close());
  }, [live]);
  useConnectionWords();
  return null;
}

class Bundle {
  private readonly openedAt_ms = Date.now();
  private alerts: AlertEvent[] = [];
  private gaps: GapEvent[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;

  alert(event: AlertEvent): void {
    if ((event.change !== "firing" && event.change !== "resolved") || isHeld(event)) return;
    this.alerts.push(event);
    this.plan();
  }

  /** What is missing from before the page was opened, nobody here has missed. */
  gap(event: GapEvent): void {
    if (event.to < engineNow() - (Date.now() - this.openedAt_ms) / 1000) return;
    this.gaps.push(event);
    this.plan();
  }

  close(): void {
    clearTimeout(this.timer);
  }

  private plan(): void {
    this.timer ??= setTimeout(() => this.tell(), BUNDLE_MS);
  }

  private tell(): void {
    this.timer = undefined;
    const [firing, resolved] = [this.alerts.filter((event) => event.change === "firing"), this.alerts.filter((event) => event.change === "resolved")];
    if (firing.length) toast(sentence(firing, "is firing", "are firing"), "bad", ALERT_NOTE_MS);
    if (resolved.length) toast(sentence(resolved, "has resolved", "have resolved"), "good", ALERT_NOTE_MS);
    if (this.gaps.length) toast(gapSentence(this.gaps), "warn");
    this.alerts = [];
    this.gaps = [];
  }
}

/** Flapping, silenced, or behind another: nobody is told of it elsewhere either. */
export const isHeld = ({ held_by, silenced_by }: Pick<AlertEvent, "held_by" | "silenced_by">): boolean => !!held_by || !!silenced_by;

const NAMED_MAX = 3;

export function sentence(events: readonly Pick<AlertEvent, "name">[], one: string, more: string): string {
  const names = [...new Set(events.map((event) => event.name))];
  if (names.length === 1) return `${names[0] ?? ""} ${one}`;
  const listed = names.slice(0, NAMED_MAX).join(", ");
  return names.length <= NAMED_MAX ? `${listed} ${more}` : `${plural(names.length, "alert")} ${more}: ${listed} and ${names.length - NAMED_MAX} more`;
}

export function gapSentence(gaps: readonly Pick<GapEvent, "from" | "to" | "reason">[]): string {
  const from = Math.min(...gaps.map((gap) => gap.from));
  const to = Math.max(...gaps.map((gap) => gap.to));
  const why = gaps.some((gap) => gap.reason === "slow") ? "this browser was too slow for the stream" : "the engine’s memory does not go back so far, or it was restarted";
  return `Live data ${from === to ? "of" : `from ${clockTime(from)} to`} ${clockTime(to)} was not received: ${why}. What was recorded is in the history.`;
}

function useConnectionWords(): void {
  const { is } = useFresh();
  const wasStale = useRef(false), wasPaused = useRef(false);
  const stale = isStale(is), isPaused = is === "paused";
  useEffect(() => {
    if (isPaused !== wasPaused.current) announce(isPaused ? "Paused. Live values and charts stand still." : "No longer paused.");
    wasPaused.current = isPaused;
  }, [isPaused]);
  useEffect(() => {
    if (stale) announce(is === "lost" ? "The connection to the engine is lost. What is shown is old." : "The engine sends no new data. What is shown is old.");
    else if (wasStale.current && is === "live") announce("Data is live again.");
    wasStale.current = stale || (wasStale.current && is !== "live");
  }, [stale, is]);
}
