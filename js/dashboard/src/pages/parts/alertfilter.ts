/** Which alerts are shown and in what order. The filter stands in the address. Pure. */

import { tagText } from "../../kit/format";
import type { AlertDoc } from "./documents";
import type { Texts } from "./read";

export interface AlertFilter {
  /** "", firing, pending, open (firing, and nobody has it), silenced. */
  readonly state: string;
  readonly severity: string;
  /** Each word must occur in name, tags or condition. */
  readonly text: string;
  /** `agency=irs`, or `agency` alone for any value; several with commas, all must hold. */
  readonly tag: string;
}

export const STATES = [
  ["", "All"],
  ["open", "Needs somebody"],
  ["firing", "Firing"],
  ["pending", "Pending"],
  ["silenced", "Silenced"],
] as const;

export const ORDERS = [
  ["", "Most urgent first"],
  ["-since", "Newest first"],
  ["since", "Longest first"],
  ["name", "By name"],
] as const;

const isOpen = (alert: AlertDoc): boolean => alert.state === "firing" && !alert.acknowledged && !alert.silencedBy;

function hasState(alert: AlertDoc, state: string): boolean {
  if (state === "open") return isOpen(alert);
  if (state === "silenced") return alert.silencedBy !== "";
  return state === "" || alert.state === state;
}

/** Whether tags hold what `agency=irs, region` asks for. */
export function hasTags(tags: Texts, wanted: string): boolean {
  const parts = wanted.split(",").map((part) => part.trim()).filter(Boolean);
  return parts.every((part) => {
    const mark = part.search(/[=:]/);
    const name = (mark < 0 ? part : part.slice(0, mark)).trim();
    if (!Object.hasOwn(tags, name)) return false;
    return mark < 0 || tags[name] === part.slice(mark + 1).trim().replace(/^"(.*)"$/, "$1");
  });
}

/** Every word of `wanted` occurs in one of the texts, whatever its case. */
export function hasWords(texts: readonly string[], wanted: string): boolean {
  const all = texts.join("\n").toLowerCase();
  return wanted.toLowerCase().split(/\s+/).every((word) => all.includes(word));
}

export const filterAlerts = (alerts: readonly AlertDoc[], filter: AlertFilter): readonly AlertDoc[] =>
  alerts.filter(
    (alert) =>
      hasState(alert, filter.state) &&
      (!filter.severity || alert.severity === filter.severity) &&
      hasTags(alert.tags, filter.tag) &&
      hasWords([alert.name, tagText(alert.tags), alert.rule, alert.reason], filter.text),
  );

export const severitiesOf = (alerts: readonly AlertDoc[]): readonly string[] =>
  [...new Set(alerts.map((alert) => alert.severity).filter(Boolean))].sort((a, b) => severityRank(a) - severityRank(b) || a.localeCompare(b));

const RANKS: Readonly<Record<string, number>> = { page: 0, critical: 0, high: 1, error: 1, warning: 2, ticket: 3, low: 4, info: 5, none: 6 };

/** Smaller is more urgent; a severity of somebody's own stands between a warning and a page. */
export const severityRank = (severity: string): number => RANKS[severity.toLowerCase()] ?? 1.5;

const STATE_RANKS: Readonly<Record<string, number>> = { firing: 0, pending: 1 };
const urgency = (alert: AlertDoc): number => (STATE_RANKS[alert.state] ?? 2) * 100 + (isOpen(alert) ? 0 : alert.silencedBy ? 40 : 20) + severityRank(alert.severity);

/** In the order of ORDERS; always the same for the same alerts. */
export function sortAlerts(alerts: readonly AlertDoc[], order: string): readonly AlertDoc[] {
  const since = (alert: AlertDoc): number => alert.since ?? 0;
  const byName = (a: AlertDoc, b: AlertDoc): number => a.name.localeCompare(b.name, "en", { numeric: true }) || tagText(a.tags).localeCompare(tagText(b.tags));
  const orders: Readonly<Record<string, (a: AlertDoc, b: AlertDoc) => number>> = {
    "-since": (a, b) => since(b) - since(a),
    since: (a, b) => since(a) - since(b),
    name: () => 0,
  };
  const first = orders[order] ?? ((a, b) => urgency(a) - urgency(b) || since(b) - since(a));
  return [...alerts].sort((a, b) => first(a, b) || byName(a, b));
}
