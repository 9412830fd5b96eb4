/** What happened, as the journal has it, what could not be delivered, and what was run: types and readers. */

import { readDecision, type Decision } from "./documents";
import { amount, figure, flag, list, membersOf, text, texts, words, type Members, type Texts } from "./read";

export interface Happening {
  readonly time: number | null;
  readonly kind: string;
  readonly members: Members;
}

export const readEvents = (value: unknown): readonly Happening[] =>
  list(membersOf(value, "list of events"), "events", (from) => ({ time: figure(from, "time"), kind: text(from, "kind"), members: from }), "list of events");

export interface NotificationDoc {
  readonly time: number | null;
  readonly receiver: string;
  readonly outcome: string;
  readonly detail: string;
  readonly why: string;
  readonly name: string;
  readonly state: string;
  readonly tags: Texts;
  readonly episode: string;
  readonly alerts: number;
}

export const notificationOf = ({ members: from, time }: Happening): NotificationDoc => ({
  time,
  receiver: text(from, "receiver"),
  outcome: text(from, "outcome"),
  detail: text(from, "detail"),
  why: text(from, "why"),
  name: text(from, "name"),
  state: text(from, "state"),
  tags: texts(from, "tags"),
  episode: text(from, "episode"),
  alerts: amount(from, "alerts", 1),
});

export const decisionOf = ({ members }: Happening): Decision => readDecision(members);

export interface DeadLetter {
  readonly id: string;
  readonly reason: string;
  readonly died: number | null;
  readonly attempts: number;
  readonly name: string;
  readonly receiver: string;
  readonly state: string;
  readonly tags: Texts;
  readonly severity: string;
  readonly created: number | null;
  readonly summary: string;
  readonly canResend: boolean;
}

export const readDeadLetters = (value: unknown): readonly DeadLetter[] =>
  list(membersOf(value, "list of dead letters"), "dead_letters", (from) => ({
    id: text(from, "id"),
    reason: text(from, "reason"),
    died: figure(from, "died"),
    attempts: amount(from, "attempts"),
    name: text(from, "name"),
    receiver: text(from, "receiver"),
    state: text(from, "state"),
    tags: texts(from, "tags"),
    severity: text(from, "severity"),
    created: figure(from, "created"),
    summary: text(from, "summary"),
    canResend: flag(from, "can_resend"),
  }), "list of dead letters");


// ---- anomalies

export interface AnomalyDoc {
  readonly time: number | null;
  /** started, held, ended. */
  readonly state: string;
  readonly name: string;
  readonly metric: string;
  readonly tags: Texts;
  /** Those of its alert. */
  readonly alertTags: Texts;
  readonly second: number | null;
  readonly value: number | null;
  readonly baseline: number | null;
}

/** A rule for every metric (`*`) says in a tag which one it was. */
export function anomalyOf({ members: from, time }: Happening): AnomalyDoc {
  const given = texts(from, "tags");
  const isAny = text(from, "metric") === "*";
  const { metric: named = "", ...others } = given;
  return {
    time,
    state: text(from, "state"),
    name: text(from, "name"),
    metric: isAny ? named : text(from, "metric"),
    tags: isAny ? others : given,
    alertTags: given,
    second: figure(from, "second"),
    value: figure(from, "value"),
    baseline: figure(from, "baseline"),
  };
}

// ---- actions

export interface ActionRuleDoc {
  readonly action: string;
  readonly on: string;
  readonly template: string;
  readonly command: readonly string[];
  readonly cooldown: number;
  readonly limitPerHour: number;
  readonly isDry: boolean;
  readonly verify: number;
  readonly source: string;
}

export interface RunDoc {
  readonly key: string;
  readonly action: string;
  readonly alert: string;
  readonly tags: Texts;
  readonly episode: string;
  readonly severity: string;
  readonly value: number | null;
  readonly time: number | null;
  /** intent, succeeded, failed, dry, unknown. */
  readonly state: string;
  readonly outcome: string;
  readonly output: string;
  /** null: nothing is verified; "": being watched. */
  readonly verified: string | null;
  readonly verifyFrom: number | null;
  readonly verifyUntil: number | null;
  readonly owed: string;
}

export interface ActionsDoc {
  readonly stoppedBy: string;
  readonly actions: readonly ActionRuleDoc[];
  readonly runs: readonly RunDoc[];
}

export function readActions(value: unknown): ActionsDoc {
  const from = membersOf(value, "list of actions");
  return { stoppedBy: text(from, "stopped_by"), actions: list(from, "actions", readActionRule, "list of actions"), runs: list(from, "runs", readRun) };
}

const readActionRule = (from: Members): ActionRuleDoc => ({
  action: text(from, "action"),
  on: text(from, "on"),
  template: text(from, "template"),
  command: words(from, "command"),
  cooldown: amount(from, "cooldown"),
  limitPerHour: amount(from, "limit_per_hour"),
  isDry: flag(from, "dry_run"),
  verify: amount(from, "verify"),
  source: text(from, "source"),
});

const readRun = (from: Members): RunDoc => ({
  key: text(from, "key"),
  action: text(from, "action"),
  alert: text(from, "alert"),
  tags: texts(from, "tags"),
  episode: text(from, "episode"),
  severity: text(from, "severity"),
  value: figure(from, "value"),
  time: figure(from, "time"),
  state: text(from, "state"),
  outcome: text(from, "outcome"),
  output: text(from, "output"),
  verified: typeof from["verified"] === "string" ? from["verified"] : null,
  verifyFrom: figure(from, "verify_from"),
  verifyUntil: figure(from, "verify_until"),
  owed: text(from, "owed"),
});

/** A step of a run in the journal: refused, intent, outcome, verified; `key` says of which run. */
export interface RunStep {
  readonly time: number | null;
  readonly event: string;
  readonly action: string;
  readonly alert: string;
  readonly tags: Texts;
  readonly key: string;
  readonly words: string;
  readonly after: number | null;
}

export const runStepOf = ({ members: from, time }: Happening): RunStep => ({
  time,
  event: text(from, "event"),
  action: text(from, "action"),
  alert: text(from, "alert"),
  tags: texts(from, "tags"),
  key: text(from, "key"),
  words: text(from, "outcome") || text(from, "reason"),
  after: figure(from, "after_seconds"),
});
