/** What is pending or firing: a row for each, with its value, why, how it stands with people, and what can be done. */

import { useEffect, useMemo, useRef, useState } from "react";
import { visible } from "@hms-ops/core";
import { announce } from "../kit/announce";
import { useNow } from "../kit/clock";
import { Button, Choice, SelectField, TextField } from "../kit/form";
import { count, plural } from "../kit/format";
import { lightOf } from "../kit/lights";
import { Badge, Light, Time } from "../kit/marks";
import { Empty } from "../kit/notes";
import { Toolbar } from "../kit/page";
import { useMay } from "../kit/session";
import { change, link, useParameter, useRoute } from "../router";
import { alertLink, type AlertData } from "./parts/alertdata";
import { filterAlerts, ORDERS, severitiesOf, sortAlerts, STATES, type AlertFilter } from "./parts/alertfilter";
import { AlertActions } from "./parts/alertactions";
import { alertKey, filled, rulesWatched, standings, stateWord, unitOf, valueText, whyText } from "./parts/alertwords";
import type { AlertDoc, SilenceDoc } from "./parts/documents";
import { Part } from "./parts/part";
import { Said, Tags, Told } from "./parts/told";
import { Why } from "./parts/why";

/** Rows at once; a storm has ten thousand alerts. */
export const ROWS = 50;
const REST_MS = 800;

export function AlertList({ data }: { readonly data: AlertData }) {
  return <Part answer={data.answer} what="The alerts">{({ alerts }) => <Listed alerts={alerts} data={data} />}</Part>;
}

function useFilter(): AlertFilter {
  const { parameters } = useRoute();
  return { state: parameters["state"] ?? "", severity: parameters["severity"] ?? "", text: parameters["q"] ?? "", tag: parameters["tag"] ?? "" };
}

function Listed({ alerts, data }: { readonly alerts: readonly AlertDoc[]; readonly data: AlertData }) {
  const filter = useFilter();
  const [order] = useParameter("sort");
  const [more, setMore] = useState(0);
  const found = useMemo(() => sortAlerts(filterAlerts(alerts, filter), order), [alerts, filter.state, filter.severity, filter.text, filter.tag, order]);
  const instances = useMemo(() => countsOf(alerts), [alerts]);
  const isFiltered = Boolean(filter.state || filter.severity || filter.text || filter.tag);
  useFoundWords(found.length, isFiltered);
  if (!alerts.length) return <Calm data={data} />;
  const shown = found.slice(0, ROWS + more);
  return (
    <>
      <Filters alerts={alerts} filter={filter} order={order} />
      {isFiltered && <p className="quiet-text">{`${count(found.length)} of ${plural(alerts.length, "alert")} ${found.length === 1 ? "matches" : "match"}.`} <Button size="small" look="quiet" onClick={clear}>Show all</Button></p>}
      {!found.length && <Empty title="No alert matches."><p>Nothing is hidden but by the filter above.</p></Empty>}
      <ul className="alert-rows" aria-label="Alerts">
        {shown.map((alert) => <AlertRow key={alertKey(alert)} alert={alert} data={data} instances={instances.get(alert.name) ?? 1} />)}
      </ul>
      {found.length > shown.length && <p><Button onClick={() => setMore(more + ROWS)}>{`Show ${Math.min(ROWS, found.length - shown.length)} more of ${count(found.length - shown.length)}`}</Button></p>}
    </>
  );
}

const clear = (): void => change({ state: null, severity: null, q: null, tag: null });

function countsOf(alerts: readonly AlertDoc[]): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const { name } of alerts) found.set(name, (found.get(name) ?? 0) + 1);
  return found;
}

/** Who types in a filter is told what it found, once they rest. */
function useFoundWords(many: number, isFiltered: boolean): void {
  const { q, tag } = useRoute().parameters;
  const latest = useRef(many);
  latest.current = many;
  const isFirst = useRef(true);
  useEffect(() => {
    if (isFirst.current) return void (isFirst.current = false);
    const timer = setTimeout(() => announce(isFiltered ? `${plural(latest.current, "alert")} found` : "All alerts are shown"), REST_MS);
    return () => clearTimeout(timer);
  }, [q, tag]);
}

function Calm({ data }: { readonly data: AlertData }) {
  return (
    <Empty title="No alert is firing.">
      <p>{rulesWatched(data.rules.size)} One that fires appears here by itself, with the reason and who is told.</p>
      <p><a href={link("alerts", { tab: "rules" })}>See what is watched</a></p>
    </Empty>
  );
}

function Filters({ alerts, filter, order }: { readonly alerts: readonly AlertDoc[]; readonly filter: AlertFilter; readonly order: string }) {
  const severities = severitiesOf(alerts);
  return (
    <Toolbar label="Filter alerts">
      <Choice label="State" value={filter.state} choices={STATES} onValue={(state) => change({ state })} />
      <SelectField label="Severity" isLabelUnseen value={filter.severity} onValue={(severity) => change({ severity })} choices={[["", "Every severity"], ...severities.map((one) => [one, one] as const)]} />
      <TextField label="Find in name, tags and condition" isLabelUnseen type="search" placeholder="Find" value={filter.text} onValue={(q) => change({ q })} />
      <TextField label="Only alerts with these tags, as in agency=irs" isLabelUnseen type="search" placeholder="tag=value" value={filter.tag} onValue={(tag) => change({ tag })} />
      <SelectField label="Order" isLabelUnseen value={order} onValue={(sort) => change({ sort })} choices={ORDERS} />
    </Toolbar>
  );
}

interface RowProps {
  readonly alert: AlertDoc;
  readonly data: AlertData;
  /** How many alerts of the same rule there are. */
  readonly instances: number;
}

const NO_SILENCES: readonly SilenceDoc[] = [];

function AlertRow({ alert, data, instances }: RowProps) {
  const maySilence = useMay("silence");
  const rule = data.rules.get(alert.name);
  const summary = rule?.annotations["summary"];
  const silences = data.silences.data ?? NO_SILENCES;
  return (
    <li className={`alert-row is-${alert.state === "firing" ? "firing" : "pending"}${alert.acknowledged || alert.silencedBy ? " is-taken" : ""}`}>
      <div className="alert-head">
        <Light state={lightOf(alert.state)} word={stateWord(alert.state)} />
        <h2><a href={alertLink(alert.name, alert.tags)}><Told>{alert.name}</Told></a></h2>
        <Badge tone={alert.severity === "page" ? "bad" : "plain"}>{alert.severity || "no severity"}</Badge>
        <Tags tags={alert.tags} />
      </div>
      <div className="alert-side">
        <div className="alert-figures">
          <strong className="alert-value"><Told>{valueText(alert, unitOf(alert, data.rules))}</Told></strong>
          <span className="quiet-text"><Time at={alert.since} look="for" /> · since <Time at={alert.since} look="clock" /></span>
        </div>
        {maySilence && <AlertActions alert={alert} instances={instances} silences={silences} />}
      </div>
      <div className="alert-words">
        {summary && rule && <p><Told>{filled(summary, alert, rule)}</Told></p>}
        <Standings alert={alert} silences={silences} />
        <Because alert={alert} />
      </div>
    </li>
  );
}

export function Standings({ alert, silences }: { readonly alert: AlertDoc; readonly silences: readonly SilenceDoc[] }) {
  const now = useNow(5);
  return (
    <ul className="standings" aria-label="How it stands">
      {standings(alert, silences, now).map((one) => <li key={one.kind}><Said tone={one.tone}><Told>{one.text}</Told></Said></li>)}
    </ul>
  );
}

/** The condition; opened, each part of it with its number now. The one that is open stands in the address. */
function Because({ alert }: { readonly alert: AlertDoc }) {
  const [open, setOpen] = useParameter("why");
  const key = alertKey(alert);
  const isOpen = open === key;
  const why = whyText(alert);
  return (
    <div className="because">
      <p className="because-line">
        <Button size="small" aria-expanded={isOpen} aria-label={`Why ${alert.name}?`} onClick={() => setOpen(isOpen ? "" : key)}>Why?</Button>
        {alert.rule ? <Told isCode most={160}>{alert.rule}</Told> : alert.reason ? <Told>{alert.reason}</Told> : <Ruleless alert={alert} />}
      </p>
      {isOpen && <Why name={alert.name} tags={alert.tags} expression={why} />}
    </div>
  );
}

const FAILED = ".action_failed";

/** Why an alert fires that no rule made: the engine says it of a failed action by its name, of others not at all. */
function Ruleless({ alert }: { readonly alert: AlertDoc }) {
  if (!alert.name.endsWith(FAILED)) return <span className="quiet-text">It has no rule: a detector or a program fired it. <a href={link("anomalies")}>See anomalies</a></span>;
  const healed = alert.name.slice(0, -FAILED.length);
  return <span>An action that was to heal {visible(healed)} failed or did not help. <a href={link("healing", { q: healed })}>See what ran</a></span>;
}
