/** Anomalies as episodes: when one began and ended, how far from normal it was. Pure. */

import { number, tagText } from "../../kit/format";
import { alertKey } from "./alertwords";
import type { AnomalyDoc } from "./happenings";
import type { Texts } from "./read";

export interface AnomalyEpisode {
  readonly key: string;
  readonly name: string;
  readonly metric: string;
  readonly tags: Texts;
  /** Unix seconds; null where the beginning is no longer in the journal. */
  readonly began: number | null;
  /** null while it lasts, and where its end was never written. */
  readonly ended: number | null;
  /** The newest second that was told of it. */
  readonly seen: number | null;
  /** Of its alert: those of the detector for every metric name the metric. */
  readonly alertTags: Texts;
  /** The strangest value told of it, and what was expected. */
  readonly value: number | null;
  readonly expected: number | null;
  /** Another one began at its place without its end being written: the engine stopped meanwhile. */
  readonly isLost: boolean;
  /** It lasted long enough for actions to start. */
  readonly wasHeld: boolean;
}

const secondOf = (one: AnomalyDoc): number | null => one.second ?? one.time;

/** Events, oldest first, as episodes, newest first. An end without a beginning is an episode of which only the end is known. */
export function episodesOf(events: readonly AnomalyDoc[]): readonly AnomalyEpisode[] {
  const open = new Map<string, AnomalyEpisode>();
  const done: AnomalyEpisode[] = [];
  for (const event of events) {
    const place = JSON.stringify([event.name, event.metric, tagText(event.tags)]);
    const known = open.get(place);
    if (event.state === "started" && known) done.push({ ...known, isLost: true });
    const before = event.state === "started" ? undefined : known;
    const next = event.state === "ended" ? ending(event, place, before) : lasting(event, place, before);
    if (event.state === "ended") {
      open.delete(place);
      done.push(next);
    } else open.set(place, next);
  }
  return [...done, ...open.values()].sort((a, b) => latest(b) - latest(a));
}

const latest = (one: AnomalyEpisode): number => one.began ?? one.ended ?? 0;

function lasting(event: AnomalyDoc, place: string, before: AnomalyEpisode | undefined): AnomalyEpisode {
  const began = before?.began ?? (event.state === "started" ? secondOf(event) : null);
  const isStranger = before === undefined || excess(event.value, event.baseline) > excess(before.value, before.expected);
  return {
    key: before?.key ?? `${place} ${secondOf(event)}`,
    name: event.name,
    metric: event.metric,
    tags: event.tags,
    began,
    ended: null,
    seen: secondOf(event),
    isLost: false,
    alertTags: event.alertTags,
    value: isStranger ? event.value : before.value,
    expected: isStranger ? event.baseline : before.expected,
    wasHeld: (before?.wasHeld ?? false) || event.state === "held",
  };
}

function ending(event: AnomalyDoc, place: string, before: AnomalyEpisode | undefined): AnomalyEpisode {
  const end = secondOf(event);
  if (before) return { ...before, ended: end, seen: end };
  const { name, metric, tags, alertTags, baseline } = event;
  return { key: `${place} ${end}`, name, metric, tags, alertTags, began: null, ended: end, seen: end, isLost: false, value: null, expected: baseline, wasHeld: false };
}

/** How many times the expected value was seen; null where nobody knows. */
export function score(one: { readonly value: number | null; readonly expected: number | null }): number | null {
  return one.value === null || one.expected === null || one.expected === 0 ? null : one.value / one.expected;
}

const excess = (value: number | null, expected: number | null): number => score({ value, expected }) ?? -1;

export const scoreWords = (one: AnomalyEpisode): string => {
  const times = score(one);
  return times === null ? "unknown" : `${number(times)} times what was expected`;
};

/** lasts, ended, or lost: its end was never written, since the engine stopped meanwhile. `firing` holds the keys of alerts. */
export type EpisodeState = "lasts" | "ended" | "lost";

export function stateOf(one: AnomalyEpisode, firing: ReadonlySet<string>): EpisodeState {
  if (one.ended !== null) return "ended";
  return !one.isLost && firing.has(alertKey({ name: one.name, tags: one.alertTags })) ? "lasts" : "lost";
}

export interface Shade {
  readonly from: number;
  readonly to: number;
  readonly name: string;
}

/** Spans for a chart to shade; those of several series that overlap are one, or the shade would be darker for no reason. */
export function shades(all: readonly AnomalyEpisode[], firing: ReadonlySet<string>, now: number): readonly Shade[] {
  const spans = all.flatMap((one) => {
    const to = one.ended ?? (stateOf(one, firing) === "lasts" ? now : one.seen);
    return one.began === null || to === null ? [] : [{ from: one.began, to: Math.max(to, one.began + 1), name: one.name }];
  });
  const merged: Shade[] = [];
  for (const span of spans.sort((a, b) => a.from - b.from)) {
    const last = merged.at(-1);
    if (last && span.from <= last.to) merged[merged.length - 1] = { ...last, to: Math.max(last.to, span.to) };
    else merged.push(span);
  }
  return merged;
}
