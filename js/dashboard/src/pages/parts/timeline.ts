/** What happened to one alert since its condition became true: one list of the journal's alerts, decisions, attempts and runs. Pure. */

import { tagText } from "../../kit/format";
import { decisionTone, decisionWords, notificationSubject, outcomeLook, receiverName, type DeliveryTone } from "./decisionwords";
import type { AlertDoc } from "./documents";
import { decisionOf, notificationOf, runStepOf, type Happening } from "./happenings";
import { text, texts } from "./read";

export interface Moment {
  readonly key: string;
  readonly time: number;
  readonly tone: DeliveryTone;
  /** alert, decision, notification, action. */
  readonly kind: string;
  readonly words: string;
  /** What a receiver or a command answered; "" for nothing. */
  readonly detail: string;
}

/** So long before the condition became true things are shown: clocks of the journal and of samples differ by a tick. */
const BEFORE_SECONDS = 2;

const SPOKEN: Readonly<Record<string, readonly [DeliveryTone, string]>> = {
  pending: ["warn", "Pending: the condition became true."],
  firing: ["bad", "Firing: the condition was true for as long as the rule asks."],
  resolved: ["good", "Resolved."],
  inactive: ["plain", "Calm again before it fired."],
};

/** The moments of this episode, oldest first. */
export function momentsOf(events: readonly Happening[], alert: Pick<AlertDoc, "name" | "tags" | "since" | "episode" | "rule">): readonly Moment[] {
  const from = (alert.since ?? 0) - BEFORE_SECONDS;
  const found: Moment[] = [];
  for (const [place, event] of events.entries()) {
    if (event.time === null || event.time < from || !isOf(event, alert)) continue;
    const said = spoken(event, alert.rule !== "");
    if (said) found.push({ key: `${event.time} ${place}`, time: event.time, kind: event.kind, ...said });
  }
  return found.sort((a, b) => tenths(a) - tenths(b) || rank(a) - rank(b) || a.time - b.time);
}

/** Cause before effect: what happened together is told as transition, decision, attempt, whichever thread wrote it first. */
const tenths = (one: Moment): number => Math.floor(one.time * 10);
const RANKS: Readonly<Record<string, number>> = { alert: 0, decision: 1, notification: 2, action: 3 };
const rank = (one: Moment): number => RANKS[one.kind] ?? 9;

/** Whether an event is about this alert: its name and tags; its episode where both have one. */
function isOf({ kind, members }: Happening, alert: Pick<AlertDoc, "name" | "tags" | "episode">): boolean {
  if (text(members, kind === "action" ? "alert" : "name") !== alert.name) return false;
  if (members["tags"] !== null && tagText(texts(members, "tags")) !== tagText(alert.tags)) return false;
  const episode = text(members, "episode");
  return episode === alert.episode || !episode || episode === "0" || !alert.episode || alert.episode === "0";
}

type Said = Pick<Moment, "tone" | "words" | "detail">;

function spoken(event: Happening, hasRule: boolean): Said | null {
  switch (event.kind) {
    case "alert": return transition(event, hasRule);
    case "decision": return { tone: decisionTone(decisionOf(event)), words: decisionWords(decisionOf(event)), detail: "" };
    case "notification": return attempt(event);
    case "action": return step(event);
    default: return null;
  }
}

const FIRED: readonly [DeliveryTone, string] = ["bad", "Fired, without a rule."];

function transition({ members }: Happening, hasRule: boolean): Said | null {
  const state = text(members, "state");
  const found = state === "firing" && !hasRule ? FIRED : SPOKEN[state];
  return found ? { tone: found[0], words: found[1], detail: text(members, "reason") } : null;
}

function attempt(event: Happening): Said {
  const one = notificationOf(event);
  const look = outcomeLook(one.outcome);
  return { tone: look.tone, words: `${look.word}, ${receiverName(one.receiver)}: ${notificationSubject(one)}.`, detail: one.detail };
}

function step(event: Happening): Said {
  const one = runStepOf(event);
  if (one.event === "refused") return { tone: "plain", words: `The action ${one.action} was not run.`, detail: one.words };
  if (one.event === "intent") return { tone: "plain", words: `The action ${one.action} was started.`, detail: "" };
  if (one.event === "verified") return { tone: one.words === "cleared" ? "good" : "bad", words: `After the action ${one.action}: ${one.words}.`, detail: "" };
  return { tone: "plain", words: `The action ${one.action} ended.`, detail: one.words };
}
