/** Anomalies as episodes: when one began and ended, how far from normal it was. Pure. */

import { number, tagText } from "../../kit/format";
import type { AnomalyDoc } from "./happenings";
import type { Texts } from "./read";

export interface AnomalyEpisode {
  readonly key: string;
  readonly name: string;
  readonly metric: string;
  readonly tags: Texts;
  /** Unix seconds; null where the beginning is no longer in the journal. */
  readonly began: number | null;
  /** null while it lasts. */
  readonly ended: number | null;
  /** The strangest value told of it, and what was expected. */
  readonly value: number | null;
  readonly expected: number | null;
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
    if (event.state === "started" && known) done.push(known);
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
    value: isStranger ? event.value : before.value,
    expected: isStranger ? event.baseline : before.expected,
    wasHeld: (before?.wasHeld ?? false) || event.state === "held",
  };
}

function ending(event: AnomalyDoc, place: string, before: AnomalyEpisode | undefined): AnomalyEpisode {
  if (before) return { ...before, ended: secondOf(event) };
  return { key: `${place} ${secondOf(event)}`, name: event.name, metric: event.metric, tags: event.tags, began: null, ended: secondOf(event), value: null, expected: event.baseline, wasHeld: false };
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

/** Spans for a chart to shade, as Unix seconds; those that last go on until `now`. */
export const shades = (all: readonly AnomalyEpisode[], now: number): readonly { from: number; to: number; name: string }[] =>
  all.filter((one) => one.began !== null).map((one) => ({ from: one.began ?? 0, to: one.ended ?? now, name: `${one.name}${tagText(one.tags)}` }));

/** The names of tags as the expression language takes them, for the link to the metric's page. */
export const selectorOf = (metric: string, tags: Texts): string => metric + (Object.keys(tags).length ? tagText(tags) : "");
