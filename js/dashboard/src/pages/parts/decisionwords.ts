/** Decisions of the dispatcher and attempts to deliver, in words: who was told, who was not, and why. Pure. */

import { plural, span } from "../../kit/format";
import type { Decision } from "./documents";
import type { NotificationDoc } from "./happenings";

export type DeliveryTone = "good" | "warn" | "bad" | "plain";

const TOLD: Readonly<Record<string, string>> = {
  first: "it has just fired",
  "new in group": "it joined a group that is told together",
  repeat: "it still fires, and the time to say so again has come",
  resolved: "it has ended",
  flapping: "it comes and goes too often; this is told once",
  storm: "too many at once, told as one summary",
};

const NOT_TOLD: Readonly<Record<string, string>> = {
  "nothing new": "there is nothing new to tell",
  "resolved before it was told": "it ended before its turn came",
  "the end of an anomaly is no news": "the end of an anomaly is no news",
  "too many alerts": "more alerts at once than are followed",
  flapping: "it comes and goes too often",
};

const why = (reason: string, words: Readonly<Record<string, string>>): string => words[reason] ?? reason;

/** A receiver in a sentence: the engine's log by its name. */
export const receiverName = (receiver: string): string => (receiver === "log:" ? "the log" : receiver);

/** One decision as a sentence. */
export function decisionWords(one: Decision): string {
  const whom = receiverName(one.receiver) || "its receivers";
  const many = one.alerts > 1 ? ` (${plural(one.alerts, "alert")})` : "";
  switch (one.decision) {
    case "told": return `Told ${whom}${many}: ${why(one.reason, TOLD)}.`;
    case "not told": return `Did not tell ${whom}${many}: ${why(one.reason, NOT_TOLD)}.`;
    case "held": return `Held back from ${whom}${many}: ${one.reason}.`;
    case "acknowledged": return `Acknowledged ${one.reason}${many}.`;
    case "released": return `No longer acknowledged or held${many}: ${one.reason}.`;
    case "escalation": return `Escalation: ${one.reason}${many}.`;
    case "silence": return `${capital(one.reason)}${many}.`;
    default: return `${capital(one.decision)}: ${one.reason}${many}.`;
  }
}

const capital = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1);

const DECISION_TONES: Readonly<Record<string, DeliveryTone>> = { told: "good", "not told": "plain", held: "warn", silence: "warn", acknowledged: "good" };
export const decisionTone = (one: Decision): DeliveryTone => DECISION_TONES[one.decision] ?? "plain";

// ---- attempts

interface OutcomeLook {
  readonly word: string;
  readonly tone: DeliveryTone;
}

const OUTCOMES: Readonly<Record<string, OutcomeLook>> = {
  delivered: { word: "Delivered", tone: "good" },
  retry: { word: "Failed, tried again", tone: "warn" },
  dead: { word: "Given up", tone: "bad" },
  dropped: { word: "Dropped", tone: "bad" },
};

export const outcomeLook = (outcome: string): OutcomeLook => OUTCOMES[outcome] ?? { word: outcome || "Unknown", tone: "plain" };

/** What a notification said: "db.write_slow is firing", or of how many it was about. */
export function notificationSubject(one: NotificationDoc): string {
  const state = one.state === "resolved" ? "has ended" : one.state === "firing" ? "is firing" : one.state;
  return one.alerts > 1 ? `${one.name} ${state}, and ${plural(one.alerts - 1, "other")}` : `${one.name} ${state}`;
}

export interface ReceiverSum {
  readonly receiver: string;
  readonly delivered: number;
  readonly retries: number;
  readonly dead: number;
  /** Of the newest attempt. */
  readonly last: NotificationDoc;
}

/** Each receiver with what became of the attempts, the worst first. */
export function receiversOf(all: readonly NotificationDoc[]): readonly ReceiverSum[] {
  const found = new Map<string, { delivered: number; retries: number; dead: number; last: NotificationDoc }>();
  for (const one of all) {
    const sum = found.get(one.receiver) ?? { delivered: 0, retries: 0, dead: 0, last: one };
    if (one.outcome === "delivered") sum.delivered++;
    else if (one.outcome === "retry") sum.retries++;
    else sum.dead++;
    if ((one.time ?? 0) >= (sum.last.time ?? 0)) sum.last = one;
    found.set(one.receiver, sum);
  }
  const badness = (sum: ReceiverSum): number => (sum.last.outcome === "delivered" ? 0 : 1e6) + sum.dead * 100 + sum.retries;
  return [...found].map(([receiver, sum]) => ({ receiver, ...sum })).sort((a, b) => badness(b) - badness(a) || a.receiver.localeCompare(b.receiver));
}

/** A receiver's state in a sentence. */
export function receiverWords({ delivered, retries, dead, last }: ReceiverSum): string {
  const parts = [plural(delivered, "notification") + " delivered"];
  if (retries) parts.push(`${plural(retries, "attempt")} failed and tried again`);
  if (dead) parts.push(`${plural(dead, "notification")} given up`);
  const now = last.outcome === "delivered" ? "The newest one arrived" : `The newest one did not arrive: ${last.detail || "no reason was given"}`;
  return `${parts.join(", ")}. ${now}.`;
}

/** How long ago attempts of a dead letter went on. */
export const attemptsWords = (attempts: number, created: number | null, died: number | null): string =>
  `${plural(attempts, "attempt")}${created !== null && died !== null && died - created >= 1 ? ` in ${span(died - created)}` : ""}`;
