/**
 * Alerts, rules, why, silences: the documents of docs/http.md as types, and a reader for each. Times are Unix seconds.
 * What happened is happenings.ts, what the engine says of itself engine.ts.
 */

import { amount, figure, flag, isMembers, list, membersOf, text, texts, words, type Members, type Texts } from "./read";

// ---- alerts

export interface Acknowledged {
  readonly by: string;
  readonly at: number | null;
  readonly until: number | null;
  readonly comment: string;
}

export interface Escalation {
  readonly policy: string;
  readonly level: number;
  readonly at: number | null;
  readonly notify: readonly string[];
}

export interface AlertDoc {
  readonly name: string;
  readonly state: string;
  readonly value: number | null;
  readonly tags: Texts;
  readonly since: number | null;
  readonly severity: string;
  readonly episode: string;
  readonly reason: string;
  readonly rule: string;
  readonly acknowledged: Acknowledged | null;
  readonly silencedBy: string;
  readonly heldBy: string;
  readonly toldAt: number | null;
  readonly next: Escalation | null;
}

export interface RuleDoc {
  readonly name: string;
  readonly if: string;
  readonly for: string;
  readonly keep: string;
  readonly recover: string;
  readonly where: string;
  readonly groupBy: readonly string[];
  readonly nodata: string;
  readonly severity: string;
  readonly notify: readonly string[];
  readonly every: string;
  readonly policy: string;
  readonly tags: Texts;
  readonly annotations: Texts;
  readonly source: string;
  readonly unit: string;
  /** watching, never matched, not evaluated. */
  readonly state: string;
  readonly problem: string;
}

export interface AlertsDoc {
  readonly alerts: readonly AlertDoc[];
  readonly rules: readonly RuleDoc[];
}

export function readAlerts(value: unknown): AlertsDoc {
  const from = membersOf(value, "list of alerts");
  return { alerts: list(from, "alerts", readAlert, "list of alerts"), rules: list(from, "rules", readRule) };
}

const readAlert = (from: Members): AlertDoc => ({
  name: text(from, "name"),
  state: text(from, "state"),
  value: figure(from, "value"),
  tags: texts(from, "tags"),
  since: figure(from, "since"),
  severity: text(from, "severity"),
  episode: text(from, "episode"),
  reason: text(from, "reason"),
  rule: text(from, "rule"),
  acknowledged: acknowledgedOf(from),
  silencedBy: text(from, "silenced_by"),
  heldBy: text(from, "held_by"),
  toldAt: figure(from, "told_at"),
  next: escalationOf(from),
});

function acknowledgedOf(from: Members): Acknowledged | null {
  const one = from["acknowledged"];
  if (!isMembers(one)) return null;
  return { by: text(one, "who") || text(one, "by"), at: figure(one, "at"), until: figure(one, "until"), comment: text(one, "comment") };
}

function escalationOf(from: Members): Escalation | null {
  const one = from["next_escalation"];
  if (!isMembers(one)) return null;
  return { policy: text(one, "policy"), level: amount(one, "level"), at: figure(one, "at"), notify: words(one, "notify") };
}

const readRule = (from: Members): RuleDoc => ({
  name: text(from, "alert"),
  if: text(from, "if"),
  for: text(from, "for"),
  keep: text(from, "keep"),
  recover: text(from, "recover"),
  where: text(from, "where"),
  groupBy: words(from, "group_by"),
  nodata: text(from, "nodata"),
  severity: text(from, "severity"),
  notify: words(from, "notify"),
  every: text(from, "every"),
  policy: text(from, "policy"),
  tags: texts(from, "tags"),
  annotations: texts(from, "annotations"),
  source: text(from, "source"),
  unit: text(from, "unit"),
  state: text(from, "state"),
  problem: text(from, "problem"),
});

// ---- why

export interface Decision {
  readonly time: number | null;
  readonly name: string;
  /** null where many alerts were decided at once. */
  readonly tags: Texts | null;
  readonly state: string;
  readonly episode: string;
  readonly decision: string;
  readonly reason: string;
  readonly receiver: string;
  readonly alerts: number;
}

export interface PartValue {
  readonly tags: Texts;
  readonly value: number | null;
}

export interface RulePart {
  readonly expression: string;
  readonly role: string;
  readonly depth: number;
  /** Its values are true (1), false (0) or unknown. */
  readonly isCondition: boolean;
  readonly unit: string;
  readonly values: readonly PartValue[];
  readonly count: number;
  readonly problem: string;
}

export interface Drawn {
  readonly query: string;
  readonly operator: string;
  readonly threshold: number | null;
  readonly unit: string;
}

export interface ExplainDoc {
  readonly decisions: readonly Decision[];
  readonly words: readonly string[];
  readonly parts: readonly RulePart[];
  readonly drawn: Drawn | null;
}

export function readExplain(value: unknown): ExplainDoc {
  const from = membersOf(value, "explanation of an alert");
  const drawn = from["drawn"];
  return {
    decisions: list(from, "decisions", readDecision),
    words: words(from, "words"),
    parts: list(from, "parts", readPart),
    drawn: isMembers(drawn) ? { query: text(drawn, "query"), operator: text(drawn, "operator"), threshold: figure(drawn, "threshold"), unit: text(drawn, "unit") } : null,
  };
}

export const readDecision = (from: Members): Decision => ({
  time: figure(from, "time"),
  name: text(from, "name"),
  tags: isMembers(from["tags"]) ? texts(from, "tags") : null,
  state: text(from, "state"),
  episode: text(from, "episode"),
  decision: text(from, "decision"),
  reason: text(from, "reason"),
  receiver: text(from, "receiver"),
  alerts: amount(from, "alerts", 1),
});

const readPart = (from: Members): RulePart => ({
  expression: text(from, "expression"),
  role: text(from, "role"),
  depth: amount(from, "depth"),
  isCondition: flag(from, "is_condition"),
  unit: text(from, "unit"),
  values: list(from, "values", (one) => ({ tags: texts(one, "tags"), value: figure(one, "value") })),
  count: amount(from, "count"),
  problem: text(from, "problem"),
});

// ---- silences

export interface SilenceDoc {
  readonly id: string;
  readonly state: string;
  readonly match: string;
  readonly starts: number | null;
  readonly ends: number | null;
  readonly who: string;
  readonly comment: string;
  readonly created: number | null;
  readonly endedBy: string;
}

export const readSilences = (value: unknown): readonly SilenceDoc[] =>
  list(membersOf(value, "list of silences"), "silences", (from) => ({
    id: text(from, "id"),
    state: text(from, "state"),
    match: text(from, "match"),
    starts: figure(from, "starts"),
    ends: figure(from, "ends"),
    who: text(from, "who"),
    comment: text(from, "comment"),
    created: figure(from, "created"),
    endedBy: text(from, "ended_by"),
  }), "list of silences");

// ---- the engine's problems

