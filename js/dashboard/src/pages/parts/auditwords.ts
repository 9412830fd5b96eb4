/** What a record of the audit log says, in words. Pure. */

import type { AuditRecord } from "./engine";
import { isMembers, type Members } from "./read";

const WHATS: Readonly<Record<string, string>> = {
  start: "started",
  stop: "stopped",
  reload: "read its files again",
  acknowledge: "took an alert",
  unacknowledge: "gave an alert back",
  silence: "silenced",
  unsilence: "ended a silence",
  resend: "sent a dead letter again",
  "test-notify": "tried a receiver",
  rule: "set a rule",
  "rule-removed": "took a rule away",
  "actions-stop": "stopped all actions",
  "actions-resume": "resumed actions",
  "action-intent": "began an action",
  "action-outcome": "ended an action",
  "action-verified": "verified an action",
  "log-in": "signed in",
  login: "signed in",
  "login-failed": "failed to sign in",
  logout: "signed out",
};

/** What was done; the engine's own word where there is no other. */
export const whatWords = (what: string): string => WHATS[what] ?? what.replaceAll("-", " ");

/** Whether nobody but the engine itself did it. */
export const isQuiet = (record: AuditRecord): boolean => record.who === "the engine" || record.who === "the program";

/** Numbers for machines, which tell a person nothing. */
const UNTOLD: ReadonlySet<string> = new Set(["key", "episode"]);

/** A detail's members as text: name and value. */
export const detailWords = (detail: Members): string =>
  Object.entries(detail)
    .filter(([name, value]) => value !== "" && value !== null && !UNTOLD.has(name) && !isEmpty(value))
    .map(([name, value]) => `${name.replaceAll("_", " ")}: ${valueWords(value)}`)
    .join("; ");

const isEmpty = (value: unknown): boolean => typeof value === "object" && value !== null && Object.keys(value).length === 0;

function valueWords(value: unknown): string {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.map(valueWords).join(" ");
  if (isMembers(value)) return Object.entries(value).map(([name, one]) => `${name}=${valueWords(one)}`).join(", ");
  return JSON.stringify(value) ?? "";
}
