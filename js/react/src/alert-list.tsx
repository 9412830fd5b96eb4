/** What is pending and firing: in which state, how bad, since when and why; and what to do about it. */
import { useEffect, useState } from "react";
import type { Alert } from "@hms-ops/client";
import { AlertActions } from "./alert-actions.js";
import { tagsText } from "./chart/lines.js";
import { formatAgo, formatMoment, formatValue, isoOf } from "./format.js";
import { useAlerts, useHearing } from "./hooks.js";

export interface AlertListProps {
  /** These instead of all that are pending or firing. */
  alerts?: readonly Alert[] | undefined;
  /** Offer to acknowledge and to silence. */
  actions?: boolean | undefined;
  /** Who does, for the audit log; without it the engine writes down who asks. */
  who?: string | undefined;
  /** The unit of an alert's value. */
  unitOf?: ((alert: Alert) => string | undefined) | undefined;
  label?: string | undefined;
}

/** Alerts that are listed; the rest is counted. */
export const ALERTS_MAX = 200;
const AGES_EVERY_MS = 10_000;

export function AlertList({ alerts, actions = false, who, unitOf, label = "Alerts" }: AlertListProps) {
  const known = useAlerts(), heard = useHearing(), now = useNow();
  const all = [...(alerts ?? known.alerts)].sort(byUrgency);
  const rest = all.length - ALERTS_MAX;
  return (
    <section className="ops-alerts" aria-label={label}>
      {heard === "unknown" && <p className="ops-chart-error" role="alert">Out of date: no connection</p>}
      <ul className="ops-alerts-list">
        {all.slice(0, ALERTS_MAX).map((alert) => (
          <AlertItem key={keyOf(alert)} alert={alert} now={now} unit={unitOf?.(alert)} actions={actions} who={who} />
        ))}
      </ul>
      {rest > 0 && <p className="ops-note">{rest} more.</p>}
      {!all.length && <p className="ops-note">{heard === "live" || alerts ? "No alert is pending or firing." : "Waiting for alerts"}</p>}
    </section>
  );
}

interface AlertItemProps {
  alert: Alert;
  now: number;
  unit: string | undefined;
  actions: boolean;
  who: string | undefined;
}

function AlertItem({ alert, now, unit, actions, who }: AlertItemProps) {
  const { name, state, severity, tags, value, since, reason, rule } = alert;
  const about = tagsText(tags);
  return (
    <li className="ops-alert" data-state={state} data-severity={severity}>
      <p className="ops-alert-head">
        <span className="ops-alert-state">{state}</span>
        {severity && <span>{severity}</span>}
        <span className="ops-alert-name">{name}</span>
        {about && <span>{about}</span>}
        {value != null && <span className="ops-alert-value">{formatValue(value, unit)}</span>}
      </p>
      <p>
        Since <time dateTime={isoOf(since)}>{formatMoment(since)}</time>
        {now > 0 && `, ${formatAgo(since, now)}`}
        {standingOf(alert).map((words) => `; ${words}`)}
      </p>
      {(reason || rule) && <p>Because <code>{reason || rule}</code></p>}
      {actions && <AlertActions alert={alert} who={who} />}
    </li>
  );
}

/** Who has it, and what holds it back. */
function standingOf({ acknowledged, silenced_by, held_by, told_at }: Alert): string[] {
  const had = acknowledged && `acknowledged by ${acknowledged.who}${acknowledged.comment ? ` (${acknowledged.comment})` : ""}`;
  return [had, silenced_by && "silenced", !silenced_by && held_by && `held back: ${held_by}`, told_at && `told at ${formatMoment(told_at)}`]
    .filter(Boolean) as string[];
}

const rank = ({ state, severity }: Alert): number => (state === "firing" ? 0 : 2) + (severity === "page" ? 0 : 1);
const byUrgency = (one: Alert, other: Alert): number =>
  rank(one) - rank(other) || other.since - one.since || (keyOf(one) < keyOf(other) ? -1 : 1);
const keyOf = ({ name, tags, episode }: Alert): string => JSON.stringify([name, tags, episode]);

/** Unix seconds, moved on every ten; 0 before the page is alive, so that server and browser agree. */
function useNow(): number {
  const [now, set] = useState(0);
  useEffect(() => {
    const tick = (): void => set(Date.now() / 1000);
    tick();
    const timer = setInterval(tick, AGES_EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  return now;
}
