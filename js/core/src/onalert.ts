// onAlert: a function that is called when an alert fires, whatever has fired it: a rule, an anomaly, or `alertNow`.
import type { AlertEvent, AnomalyEvent } from "@hms-ops/client";
import { guarded } from "./calling.js";
import type { LiveEvent, Store } from "./live.js";

export type Change = AlertEvent["change"];
export type AlertHandler = (alert: AlertEvent | AnomalyEvent) => unknown;

export interface OnAlertOptions {
  /** The changes it is called for; `firing` alone without it. */
  readonly on?: readonly Change[] | undefined;
}

/** Call the handler with each alert of that name ("*": any) that changes so. Returns the end. */
export function callOnAlert(store: Store, name: string, handler: AlertHandler, { on }: OnAlertOptions = {}): () => void {
  const changes: readonly string[] = on ?? ["firing"];
  const call = guarded(`onAlert(${JSON.stringify(name)})`, handler);
  const since = Math.floor(Date.now() / 1000) - 1;
  return store.watchEvents((event) => {
    const change = changeOf(event);
    if (change === undefined || event.time < since || !changes.includes(change)) return;
    if (name === "*" || (event as AlertEvent).name === name) call(event as AlertEvent);
  });
}

function changeOf(event: LiveEvent): string | undefined {
  if (event.type === "alert") return event.change;
  return event.type === "anomaly" ? event.state : undefined;
}
