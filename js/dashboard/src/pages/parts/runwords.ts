/** Runs of actions in words: what started one, what came of it, whether it helped. Pure. */

import { clockTime, plural, span } from "../../kit/format";
import type { ActionRuleDoc, RunDoc, RunStep } from "./happenings";

export type RunTone = "good" | "bad" | "warn" | "waiting" | "plain";

interface RunLook {
  readonly tone: RunTone;
  readonly word: string;
}

const LOOKS: Readonly<Record<string, RunLook>> = {
  intent: { tone: "waiting", word: "Running" },
  succeeded: { tone: "good", word: "Ran" },
  failed: { tone: "bad", word: "Failed" },
  dry: { tone: "plain", word: "Dry run" },
  unknown: { tone: "bad", word: "Unknown" },
};

/** A run that ran and did not help is no success: what was verified counts more than that it ran. */
export function runLook(run: RunDoc): RunLook {
  if (run.state === "succeeded" && run.verified === "cleared") return { tone: "good", word: "Helped" };
  if (run.state === "succeeded" && run.verified === "") return { tone: "waiting", word: "Being verified" };
  if (run.state === "succeeded" && run.verified) return { tone: "bad", word: "Did not help" };
  return LOOKS[run.state] ?? { tone: "plain", word: run.state };
}

/** What came of it, in a sentence. */
export function runWords(run: RunDoc): string {
  const outcome = run.outcome || "no outcome yet";
  if (run.state === "dry") return "Nothing was done: the action is a dry run.";
  if (run.state === "unknown") return `${sentence(outcome)} It is not repeated, and a person was told.`;
  if (run.state === "failed") return `${sentence(outcome)}${run.owed === "" ? " A person was told." : ""}`;
  return sentence(outcome);
}

const sentence = (text: string): string => (/[.!?…]$/.test(text) ? text : `${text}.`);

/** Whether it helped. */
export function verifiedWords(run: RunDoc, now: number): string {
  if (run.verified === null) return run.state === "succeeded" ? "Not verified" : "–";
  if (run.verified === "") {
    const left = run.verifyUntil === null ? "" : `, ${span(Math.max(0, run.verifyUntil - now))} left`;
    return `Waiting whether the alert clears${left}`;
  }
  return run.verified === "cleared" ? "The alert cleared" : `The alert had ${run.verified}; a person was told`;
}

/** How long it took from its intent to the outcome, from the journal's steps of its key; null when they are gone. */
export function durationOf(run: RunDoc, steps: readonly RunStep[]): number | null {
  const outcome = steps.find((step) => step.key === run.key && step.event === "outcome");
  return outcome?.time == null || run.time === null ? null : Math.max(0, outcome.time - run.time);
}

/** An action's name, the alert and what it runs, as people write it. */
export const actionName = (action: string): string => action.replace(" -> ", " → ");

/** What a command printed that its outcome does not already say. */
export const printed = (run: RunDoc): string => {
  const output = run.output.trim();
  return run.outcome.includes(output) ? "" : output;
};

/** What an action does: the template of the service, or the command. */
export const doesWords = (rule: ActionRuleDoc): string =>
  rule.template ? `runs the template ${rule.template}` : `runs ${rule.command.join(" ")}`;

/** A rule of actions in a sentence. */
export function ruleWords(rule: ActionRuleDoc): string {
  const parts = [`When ${rule.on} fires, it ${doesWords(rule)}`];
  parts.push(`at most ${rule.limitPerHour} times an hour and not again within ${span(rule.cooldown)}`);
  if (rule.verify > 0) parts.push(`then waits ${span(rule.verify)} for the alert to clear`);
  return `${parts.join(", ")}.${rule.isDry ? " Dry run: nothing is done, it is only recorded." : ""}`;
}

/** Why an offer was not taken, as a row of the log. */
export const refusedWords = (step: RunStep): string => `Not run: ${step.words || "no reason was given"}.`;

/** Who has stopped all actions, in a sentence; "" when nobody has. */
export const stoppedWords = (stoppedBy: string, since: number | null): string =>
  stoppedBy ? `All actions are stopped by ${stoppedBy}${since === null ? "" : ` since ${clockTime(since)}`}. Alerts page as ever; nothing heals itself until somebody resumes.` : "";

export const mayRunWords = (actions: number): string => `Actions may run: ${plural(actions, "action waits for its alert", "actions wait for their alerts")}.`;
