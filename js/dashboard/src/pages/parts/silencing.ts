/** What a silence is asked for with: how long, of what. Pure. */

import { ago, span } from "../../kit/format";
import { moment } from "./alertwords";
import type { SilenceDoc } from "./documents";
import type { Texts } from "./read";

export const SILENCE_SECONDS_MAX = 366 * 86_400;

/** Choices of a dialog; "other" is written. */
export const LASTS = [
  ["15m", "15 minutes"],
  ["1h", "1 hour"],
  ["2h", "2 hours"],
  ["8h", "8 hours: to the end of a shift"],
  ["1d", "1 day"],
  ["7d", "7 days"],
  ["other", "Other …"],
] as const;

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** Seconds of `90m` or `1h30m`; null for what is no duration, or none a silence may have. */
export function durationSeconds(given: string): number | null {
  const text = given.trim().toLowerCase().replace(/\s+/g, "");
  if (!/^(\d+(\.\d+)?[smhdw])+$/.test(text)) return null;
  let seconds = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)([smhdw])/g)) seconds += Number(number) * (UNITS[unit ?? ""] ?? 0);
  return seconds > 0 && seconds <= SILENCE_SECONDS_MAX ? seconds : null;
}

/** What is wrong with a duration, for the field; null when nothing is. */
export const durationProblem = (given: string): string | null =>
  durationSeconds(given) === null ? "Write a duration such as 45m, 3h or 2d, up to a year." : null;

export type Of = "instance" | "rule";

/** What will be quiet, in a sentence. */
export function silenceWords(name: string, tags: Texts, of: Of, instances: number): string {
  const names = Object.keys(tags).sort();
  if (of === "instance" && names.length) return `Only ${name} with ${names.map((tag) => `${tag}=${tags[tag]}`).join(", ")}.`;
  const many = instances > 1 ? ` It has ${instances} alerts now, and new ones will be quiet too.` : " New alerts of it will be quiet too.";
  return `All alerts of ${name}.${many}`;
}

/** The body of POST /v1/alerts/{name}/silence. */
export const silenceBody = (tags: Texts, of: Of, lasts: string, comment: string, who: string): Record<string, unknown> => ({
  for: lasts,
  comment,
  ...(of === "instance" && Object.keys(tags).length ? { tags } : {}),
  ...(who ? { who } : {}),
});

export const SILENCE_STATES: Readonly<Record<string, string>> = { active: "Active", pending: "Planned", ended: "Ended" };

/** When a silence begins or ends, in words. */
export function silenceTimes(one: SilenceDoc, now: number): string {
  if (one.state === "ended") return `ended ${one.ends === null ? "" : ago(one.ends, now)}${one.endedBy ? ` by ${one.endedBy}` : ""}`.trim();
  const until = one.ends === null ? "" : `until ${moment(one.ends, now)}, ${span(Math.max(0, one.ends - now))} more`;
  return one.state === "pending" && one.starts !== null && one.starts > now + 5 ? `begins ${ago(one.starts, now)}, ${until}` : until;
}
