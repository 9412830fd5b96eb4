/** The answer to "is everything all right?", first on the page and in words: what fires, what is pending, or that nothing does. */

import type { ReactNode } from "react";
import type { Alert } from "@hms-ops/client";
import { useAlerts } from "@hms-ops/react";
import { count, plural, tagText } from "../kit/format";
import { Badge, Light, Time } from "../kit/marks";
import { severityRank } from "../pages/parts/alertfilter";
import { link } from "../router";
import { isStale } from "../shell/fresh";
import { useFresh } from "../shell/state";

export const SHOWN_MAX = 6;

const rank = (alert: Alert): number =>
  (alert.state === "firing" ? 0 : 100) + (alert.acknowledged ? 20 : alert.silenced_by ? 40 : 0) + severityRank(alert.severity);

export function Attention({ metrics, series }: { readonly metrics: number; readonly series: number }) {
  const { alerts, rules } = useAlerts();
  const { is } = useFresh();
  const firing = alerts.filter((alert) => alert.state === "firing");
  const watched = `${plural(rules.length, "rule")} ${rules.length === 1 ? "watches" : "watch"} ${plural(metrics, "metric")} in ${count(series)} series.`;
  if (is === "connecting") return <Verdict look="waiting" mark="○" title="Waiting for the engine’s first second">{watched}</Verdict>;
  if (isStale(is)) return <Verdict look="lost" mark="▲" title="The present state is not known"><>The last known state is below. {firing.length ? `${plural(firing.length, "alert")} ${firing.length === 1 ? "was" : "were"} firing then.` : "No alert was firing then."}</></Verdict>;
  if (!alerts.length) return <Verdict look="good" mark="●" title={rules.length ? "All is well: no alert is firing" : "No rules are set up yet"}>{rules.length ? watched : <>Nothing can fire. Rules are written in files; <a href="/docs">the documentation</a> shows how.</>}</Verdict>;
  const pending = alerts.length - firing.length;
  const title = firing.length ? `${plural(firing.length, "alert")} ${firing.length === 1 ? "is" : "are"} firing` : `No alert is firing, ${pending} pending`;
  return (
    <Verdict look={firing.length ? "bad" : "warn"} mark={firing.length ? "▲" : "◆"} title={title} list={<AlertCards alerts={alerts} />}>
      {firing.length && pending ? `${pending} more pending. ` : ""}{watched}
    </Verdict>
  );
}

interface VerdictProps {
  readonly look: "good" | "warn" | "bad" | "lost" | "waiting";
  readonly mark: string;
  readonly title: string;
  readonly list?: ReactNode;
  readonly children: ReactNode;
}

function Verdict({ look, mark, title, list, children }: VerdictProps) {
  return (
    <section className={`attention is-${look}`} aria-labelledby="attention-title">
      <div className="attention-words">
        <span className="attention-mark" aria-hidden="true">{mark}</span>
        <div>
          <h2 id="attention-title">{title}</h2>
          <p>{children}</p>
        </div>
      </div>
      {list}
    </section>
  );
}

/** Those that need somebody most come first; what is more is a link. */
export function AlertCards({ alerts }: { readonly alerts: readonly Alert[] }) {
  const sorted = [...alerts].sort((a, b) => rank(a) - rank(b) || b.since - a.since);
  return (
    <ul className="cards">
      {sorted.slice(0, SHOWN_MAX).map((alert) => <Card key={`${alert.name}${tagText(alert.tags)}`} alert={alert} />)}
      {alerts.length > SHOWN_MAX && <li className="card-more"><a href={link("alerts")}>{`${count(alerts.length - SHOWN_MAX)} more alerts`}</a></li>}
    </ul>
  );
}

function Card({ alert }: { readonly alert: Alert }) {
  const isFiring = alert.state === "firing";
  return (
    <li className={`card is-${isFiring ? "bad" : "warn"}`}>
      <div className="card-head">
        <a href={link("alerts", { name: alert.name })}><bdi>{alert.name}</bdi></a>
        <Light state={isFiring ? "bad" : "warn"} word={isFiring ? "Firing" : "Pending"} />
      </div>
      {Object.keys(alert.tags).length > 0 && <p className="card-tags"><bdi>{tagText(alert.tags)}</bdi></p>}
      <p className="card-reason"><bdi>{alert.reason || alert.rule}</bdi></p>
      <p className="card-foot">
        {alert.severity && <Badge tone={alert.severity === "page" ? "bad" : "plain"}>{`severity ${alert.severity}`}</Badge>}
        <span>for <Time at={alert.since} look="for" /></span>
        <span>{alert.acknowledged ? `taken by ${alert.acknowledged.who}` : alert.silenced_by ? "silenced" : isFiring ? "nobody has taken it" : ""}</span>
      </p>
    </li>
  );
}
