/** An alert in plain words: its state, how it stands with people, what it is about. Pure; `now` is the engine's clock. */

import { ago, clockTime, dateTime, number, plural, span, tagText, utc, withUnit } from "../../kit/format";
import { receiverName } from "./decisionwords";
import type { AlertDoc, RuleDoc, SilenceDoc } from "./documents";

const DAY_SECONDS = 86_400;
const AT_ONCE_SECONDS = 5;

/** The time of day for what is near, the date too for what is not. */
export const moment = (at: number, now: number): string => (Math.abs(now - at) < DAY_SECONDS / 2 ? clockTime(at) : dateTime(at));

/** Tells alerts apart, across readings: the name, and its tags in one order. */
export const alertKey = (alert: Pick<AlertDoc, "name" | "tags">): string => JSON.stringify([alert.name, tagText(alert.tags)]);

export const STATE_WORDS: Readonly<Record<string, string>> = { firing: "Firing", pending: "Pending", resolved: "Resolved", inactive: "Calm" };

export const stateWord = (state: string): string => STATE_WORDS[state] ?? state;

export type Tone = "good" | "warn" | "bad" | "plain";

export interface Standing {
  readonly tone: Tone;
  /** ack, silence, held, next, told, nobody. */
  readonly kind: string;
  readonly text: string;
}

/** How it stands with people, the most important first: who has it, what keeps it quiet, who is told next. */
export function standings(alert: AlertDoc, silences: readonly SilenceDoc[], now: number): readonly Standing[] {
  if (alert.state !== "firing") return [{ tone: "plain", kind: "nobody", text: "Nobody is told before it fires." }];
  const untaken = alert.acknowledged || alert.silencedBy ? null : UNTAKEN;
  const found = [untaken, acknowledgement(alert, now), silence(alert, silences, now), held(alert), next(alert, now), told(alert, now)];
  return found.filter((one): one is Standing => one !== null);
}

const UNTAKEN: Standing = { tone: "bad", kind: "nobody", text: "Nobody has taken it." };

function acknowledgement({ acknowledged }: AlertDoc, now: number): Standing | null {
  if (!acknowledged) return null;
  const since = acknowledged.at === null ? "" : ` since ${moment(acknowledged.at, now)}`;
  const until = acknowledged.until === null ? "" : `, until ${moment(acknowledged.until, now)}`;
  const comment = acknowledged.comment ? `: “${acknowledged.comment}”` : "";
  return { tone: "good", kind: "ack", text: `${acknowledged.by || "Somebody"} has it${since}${until}${comment}.` };
}

function silence(alert: AlertDoc, silences: readonly SilenceDoc[], now: number): Standing | null {
  if (!alert.silencedBy) return null;
  const found = silences.find((one) => one.id === alert.silencedBy);
  if (!found) return { tone: "warn", kind: "silence", text: `Silenced by ${alert.silencedBy}.` };
  const until = found.ends === null ? "" : ` until ${moment(found.ends, now)}, ${span(found.ends - now)} more`;
  return { tone: "warn", kind: "silence", text: `Silenced by ${found.who || "somebody"}${until}${found.comment ? `: “${found.comment}”` : ""}.` };
}

/** What holds it back beside acknowledgement and silence, which have their own words. */
function held({ heldBy, acknowledged, silencedBy }: AlertDoc): Standing | null {
  if (!heldBy || (acknowledged && heldBy.startsWith("acknowledged")) || (silencedBy && heldBy.startsWith("silenced"))) return null;
  const said = heldBy === "flapping" ? "it comes and goes too often (flapping)" : heldBy;
  return { tone: "warn", kind: "held", text: `Nobody is told now: ${said}.` };
}

function next({ next: coming }: AlertDoc, now: number): Standing | null {
  if (!coming) return null;
  const when = coming.at === null ? "" : coming.at - now < AT_ONCE_SECONDS ? " at once" : ` ${ago(coming.at, now)} (${moment(coming.at, now)})`;
  const whom = coming.notify.length ? `: ${coming.notify.map(receiverName).join(", ")}` : "";
  return { tone: "warn", kind: "next", text: `Next${when}, level ${coming.level} of the policy ${coming.policy}${whom}.` };
}

function told({ toldAt }: AlertDoc, now: number): Standing | null {
  if (toldAt === null) return null;
  return { tone: "plain", kind: "told", text: `Told ${toldAt > now ? `${ago(toldAt, now)}, with its group` : "now"}.` };
}

/** What the whole list comes to, for the lead and for who listens. */
export function overall(alerts: readonly AlertDoc[], rules: number): string {
  const firing = alerts.filter((one) => one.state === "firing");
  const pending = alerts.filter((one) => one.state === "pending").length;
  if (!alerts.length) return `No alert is firing. ${rulesWatched(rules)}`;
  const untaken = firing.filter((one) => !one.acknowledged && !one.silencedBy).length;
  const parts = [firing.length ? `${plural(firing.length, "alert")} ${firing.length === 1 ? "is" : "are"} firing` : "No alert is firing"];
  if (firing.length) parts.push(untakenWords(firing.length, untaken));
  if (pending) parts.push(`${pending} ${pending === 1 ? "is" : "are"} pending`);
  return `${parts.join(", ")}.`;
}

function untakenWords(firing: number, untaken: number): string {
  if (!untaken) return firing === 1 ? "taken or silenced" : "all of them taken or silenced";
  return `${firing === 1 ? "" : `${untaken} of them `}without anybody who has taken ${untaken === 1 ? "it" : "them"}`;
}

export const rulesWatched = (rules: number): string =>
  rules ? `${plural(rules, "rule")} ${rules === 1 ? "is" : "are"} watched.` : "There are no rules yet, so nothing can fire.";

/** The name of the rule an alert belongs to: its own, or of the action that failed for it. */
export const unitOf = (alert: AlertDoc, rules: ReadonlyMap<string, RuleDoc>): string => rules.get(alert.name)?.unit ?? "";

/** A value as the rule sees it; what only says whether something is missing has none worth showing. */
export const valueText = (alert: AlertDoc, unit: string): string => (alert.value === null ? "unknown" : withUnit(alert.value, unit));

/** What has an alert of its own: "each agency", "each series"; "" where all series are one. */
export const eachOf = (groupBy: readonly string[]): string => (groupBy.length ? `each ${groupBy[0] === "*" ? "series" : groupBy.join(", ")}` : "");

/** The condition as written; of an alert without a rule, why it was fired. */
export const whyText = (alert: AlertDoc): string => alert.rule || alert.reason;

// ---- annotations

const NAME = /\{\{|\}\}|\{([^{}\s]{1,200})\}/g;

/** An annotation with the facts of the alert in it, as receivers get it: a name in braces is replaced once, nothing is evaluated. */
export function filled(template: string, alert: AlertDoc, rule: RuleDoc): string {
  const tags = { ...rule.tags, ...alert.tags };
  const facts: Readonly<Record<string, string>> = {
    name: alert.name,
    state: alert.state,
    value: alert.value === null ? "unknown" : number(alert.value),
    severity: alert.severity,
    since: alert.since === null ? "" : utc(alert.since),
    until: "",
    reason: alert.reason,
    rule: alert.rule,
    group: Object.keys(alert.tags).sort().map((tag) => `${tag}=${alert.tags[tag] ?? ""}`).join(", "),
    episode: alert.episode,
    policy: rule.policy,
  };
  return template.replace(NAME, (found, name: string | undefined) => {
    if (name === undefined) return found[0] ?? "";
    if (Object.hasOwn(facts, name)) return facts[name] ?? found;
    const tag = name.startsWith("tag.") ? name.slice(4) : name;
    return Object.hasOwn(tags, tag) ? tags[tag] ?? found : found;
  });
}
