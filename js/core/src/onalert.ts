// onAlert: a function that is called when an alert fires, whatever has fired it: a rule, an anomaly, or `alertNow`.
import type { AlertEvent } from "@hms-ops/client";
import { guarded } from "./calling.js";
import type { Store } from "./live.js";

export type Change = AlertEvent["change"];
export type AlertHandler = (alert: AlertEvent) => unknown;

export interface OnAlertOptions {
  /** The changes it is called for; `firing` alone without it. */
  readonly on?: Change | readonly Change[] | undefined;
}

/** Call the handler with each alert of that name ("*": any) that changes so, from now on. Returns the end. */
export function callOnAlert(store: Store, name: string, handler: AlertHandler, { on = "firing" }: OnAlertOptions = {}): () => void {
  const changes: readonly string[] = typeof on === "string" ? [on] : on;
  const call = guarded(`onAlert(${JSON.stringify(name)})`, handler);
  return store.watchEvents((event) => {
    if (event.type !== "alert" || !changes.includes(event.change)) return;
    if (name === "*" || event.name === name) call(event);
  });
}
