/** What a record of the audit log says, in words. Pure. */

import type { AuditRecord } from "./engine";
import type { Members } from "./read";

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

/** A detail's members as text: name and value, values as JSON unless they are texts. */
export const detailWords = (detail: Members): string =>
  Object.entries(detail)
    .filter(([, value]) => value !== "" && value !== null)
    .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join("; ");
