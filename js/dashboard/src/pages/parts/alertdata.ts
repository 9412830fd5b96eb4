/** What the alert pages show, read together and read again when the stream tells of an alert. */

import { useMemo } from "react";
import { engineNow } from "../../kit/clock";
import { link } from "../../router";
import { readAlerts, readSilences, type AlertDoc, type AlertsDoc, type RuleDoc, type SilenceDoc } from "./documents";
import { useNews, useRead, type Readable } from "./use";

export const ALERTS_EVERY_SECONDS = 5;
const SLOW_SECONDS = 20;

export interface AlertData {
  readonly answer: Readable<AlertsDoc>;
  readonly silences: Readable<readonly SilenceDoc[]>;
  readonly rules: ReadonlyMap<string, RuleDoc>;
}

const NO_RULES: readonly RuleDoc[] = [];

export function useAlertData(): AlertData {
  const answer = useRead("/v1/alerts", readAlerts, ALERTS_EVERY_SECONDS);
  const silences = useRead("/v1/silences", readSilences, SLOW_SECONDS);
  useNews(["alert"], ["/v1/alerts", "/v1/silences"]);
  const list = answer.data?.rules ?? NO_RULES;
  const rules = useMemo(() => new Map(list.map((rule) => [rule.name, rule])), [list]);
  return { answer, silences, rules };
}

/** The address of an alert's own view; the rule's, where no tags are given. */
export const alertLink = (name: string, tags: AlertDoc["tags"] = {}): string =>
  link("alerts", { name, tags: Object.keys(tags).length ? JSON.stringify(tags) : null });

/** The tags in an address; null for none, or for what is none. */
export function tagsOfAddress(text: string | undefined): AlertDoc["tags"] | null {
  if (!text) return null;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
    return Object.fromEntries(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string"));
  } catch {
    return null;
  }
}

/** The path of GET …/explain for these tags, as the engine reads them. */
export function explainPath(name: string, tags: AlertDoc["tags"]): string {
  const text = Object.keys(tags).sort().map((tag) => `${tag}=${JSON.stringify(tags[tag] ?? "")}`).join(",");
  return `/v1/alerts/${encodeURIComponent(name)}/explain${text ? `?tags=${encodeURIComponent(text)}` : ""}`;
}

/** Everything of the journal about alerts since a moment; whole minutes, so that readers of it share one document. */
export const eventsPath = (since: number, limit = 2_000): string =>
  `/v1/events?kind=alert,decision,notification,action&limit=${limit}&since=${Math.max(0, Math.floor(since / 60) * 60)}`;

export const agoSeconds = (at: number | null): number => (at === null ? 0 : Math.max(0, engineNow() - at));
