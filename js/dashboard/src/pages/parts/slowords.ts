/** Service levels in sentences: the promise, what was kept, what is left of the budget, how fast it is spent. Pure. */

import { number, plural, span } from "../../kit/format";
import type { SloDoc, SloGroup } from "./engine";

/** A pair of windows whose burn rate pages or makes a ticket; as docs/alerts.md has them. */
export interface Burn {
  readonly name: string;
  readonly factor: number;
  readonly longSeconds: number;
  readonly shortSeconds: number;
  readonly isPage: boolean;
}

export const BURNS: readonly Burn[] = [
  { name: "burn_fast", factor: 14.4, longSeconds: 3600, shortSeconds: 300, isPage: true },
  { name: "burn_medium", factor: 6, longSeconds: 21_600, shortSeconds: 1800, isPage: true },
  { name: "burn_slow", factor: 3, longSeconds: 86_400, shortSeconds: 7200, isPage: false },
  { name: "burn_creep", factor: 1, longSeconds: 259_200, shortSeconds: 21_600, isPage: false },
];

/** 99.9, 99.95: as many places as were written. */
export const objectiveText = (objective: number): string => `${String(objective)} %`;

/** A share as a percentage that never rounds up to what was not reached: 99.97 of 0.99979, 100 of 1 only. */
export function keptText(share: number | null): string {
  if (share === null) return "–";
  if (share >= 1) return "100 %";
  const places = share > 0.999 ? 3 : 2;
  const scale = 10 ** places;
  return `${(Math.floor(share * 100 * scale + 1e-6) / scale).toFixed(places)} %`;
}

/** "99.9 % of the time that it is asked, finance.api_ms <= 200, over 30 d." */
export const promise = (slo: SloDoc): string => {
  const each = slo.groupBy.length ? `, for each ${slo.groupBy.join(" and ")}` : "";
  const what = /[<>=]/.test(slo.good) ? `are to be good: ${slo.good}` : `are to be counted as good (${slo.good})`;
  return `Promised: ${objectiveText(slo.objective)} of all events in ${span(slo.windowSeconds)} ${what}${each}.`;
};

export type SloTone = "good" | "warn" | "bad" | "waiting";

interface SloState {
  readonly tone: SloTone;
  readonly word: string;
}

const STATES: Readonly<Record<string, SloState>> = {
  ok: { tone: "good", word: "Kept" },
  burning: { tone: "bad", word: "Burning too fast" },
  exhausted: { tone: "bad", word: "Promise broken" },
  "no data": { tone: "waiting", word: "No data" },
};

export const sloState = (state: string): SloState => STATES[state] ?? { tone: "waiting", word: state };

/** The events that may still fail before the promise is broken; below 0, how many too many did. */
export const eventsLeft = (slo: SloDoc, group: SloGroup): number => group.total * (1 - slo.objective / 100) - (group.total - group.good);

const ROUNDING = 1e-6; // of counts times shares: 49.999999999 events are 50

/** The budget left in words. */
export function budgetWords(slo: SloDoc, group: SloGroup): string {
  if (group.total <= 0) return "Nothing was counted in the window, so nothing of the budget is spent.";
  const left = Math.floor(Math.abs(eventsLeft(slo, group)) + ROUNDING);
  const failed = `${number(group.total - group.good)} of ${number(group.total)} events failed`;
  if (group.budget <= 0) return `The error budget is spent ${overspent(group.budget)}: ${failed}, ${number(Math.max(1, left))} more than promised.`;
  return `${percentLeft(group.budget)} of the error budget is left: ${failed}, ${number(left)} more may.`;
}

const overspent = (budget: number): string => (budget > -0.005 ? "entirely" : `${number(1 - budget)} times over`);

/** Never "0 %" while something is left, never "100 %" once something is gone. */
export function percentLeft(budget: number): string {
  if (budget >= 1) return "100 %";
  if (budget <= 0) return "0 %";
  const percent = budget * 100;
  if (percent < 0.1) return "less than 0.1 %";
  return percent > 99.9 ? "more than 99.9 %" : `${percent < 10 ? percent.toFixed(1) : Math.floor(percent)} %`;
}

export interface BurnState {
  readonly burn: Burn;
  readonly long: number | null;
  readonly short: number | null;
  /** "fires", "would" (one of both windows is over it), "ok", "no data", "never" (nothing burns so fast). */
  readonly state: "fires" | "half" | "ok" | "no data" | "never";
  readonly words: string;
}

/** How each pair of windows stands against its threshold; both must be over it. */
export function burnStates(slo: SloDoc, group: SloGroup): readonly BurnState[] {
  const firing = new Set(group.firing);
  return BURNS.map((burn) => {
    const long = group.burn[String(burn.longSeconds)] ?? null;
    const short = group.burn[String(burn.shortSeconds)] ?? null;
    const state = stateOf(slo, burn, long, short, firing.has(`${slo.name}.${burn.name}`));
    return { burn, long, short, state, words: burnWords(burn, long, short, state) };
  });
}

function stateOf(slo: SloDoc, burn: Burn, long: number | null, short: number | null, isFiring: boolean): BurnState["state"] {
  if (burn.factor * (1 - slo.objective / 100) >= 1) return "never";
  if (isFiring) return "fires";
  if (long === null || short === null) return "no data";
  return long > burn.factor || short > burn.factor ? "half" : "ok";
}

function burnWords(burn: Burn, long: number | null, short: number | null, state: BurnState["state"]): string {
  const limit = times(burn.factor);
  if (state === "never") return `Cannot happen: even if all failed, the budget would not be spent ${limit} too fast.`;
  if (state === "no data") return "Nothing was counted in one of the two windows.";
  const said = `${times(long)} over ${span(burn.longSeconds)}, ${times(short)} over ${span(burn.shortSeconds)}`;
  if (state === "fires") return `Fires: ${said}; the limit is ${limit}.`;
  if (state === "half") return `${said}; it fires when both are above ${limit} and there are enough events.`;
  return `${said}; the limit is ${limit}.`;
}

const times = (rate: number | null): string => (rate === null ? "unknown" : `${number(rate)} ${rate === 1 ? "time" : "times"}`);

/** When the budget is spent if it goes on as in the last hour; null when it is not being spent, or is spent already. */
export function spentIn(slo: SloDoc, group: SloGroup): number | null {
  const rate = group.burn["3600"] ?? null;
  if (rate === null || rate <= 0 || group.budget <= 0) return null;
  return (group.budget * slo.windowSeconds) / rate;
}

/** What all of them come to. */
export function overallWords(slos: readonly SloDoc[]): string {
  const groups = slos.flatMap((slo) => slo.groups);
  const bad = groups.filter((group) => group.state === "burning" || group.state === "exhausted").length;
  const quiet = groups.filter((group) => group.state === "no data").length;
  const kept = groups.length - bad - quiet;
  const parts = [`${kept} of ${plural(groups.length, "promise")} ${kept === 1 ? "is" : "are"} kept`];
  if (bad) parts.push(`${bad} ${bad === 1 ? "is" : "are"} broken or in danger`);
  if (quiet) parts.push(`${quiet} ${quiet === 1 ? "has" : "have"} no data`);
  return `${parts.join(", ")}.`;
}
