/** One rule and its alerts: how it stands, why, its value over time with the threshold, what happened, what to do. */

import { useMemo } from "react";
import { visible } from "@hms-ops/core";
import { MetricChart } from "@hms-ops/react";
import { useNow } from "../kit/clock";
import { Choice } from "../kit/form";
import { span, withUnit } from "../kit/format";
import { lightOf } from "../kit/lights";
import { Badge, Light, Time } from "../kit/marks";
import { Boundary, Empty } from "../kit/notes";
import { Facts, Page, Section } from "../kit/page";
import { useMay } from "../kit/session";
import { link, useParameter } from "../router";
import { Standings } from "./alerts-list";
import { AlertActions } from "./parts/alertactions";
import { UNABLE } from "./alerts-rules";
import { alertLink, eventsPath, explainPath, type AlertData } from "./parts/alertdata";
import { alertKey, eachOf, filled, stateWord, valueText, whyText } from "./parts/alertwords";
import { receiverName } from "./parts/decisionwords";
import { readExplain, type AlertDoc, type RuleDoc } from "./parts/documents";
import { readEvents } from "./parts/happenings";
import { Part } from "./parts/part";
import { momentsOf, type Moment } from "./parts/timeline";
import { Linked, Said, Tags, Told } from "./parts/told";
import { useNews, useRead } from "./parts/use";
import { EXPLAIN_EVERY_SECONDS, Why } from "./parts/why";

interface DetailProps {
  readonly name: string;
  /** null: any; an alert of this name, where there is one only. */
  readonly tags: AlertDoc["tags"] | null;
  readonly data: AlertData;
}

export function AlertDetail({ name, tags, data }: DetailProps) {
  const back = <a href={link("alerts")}>All alerts</a>;
  return (
    <Page title={`Alert ${visible(name)}`} lead={back}>
      <Part answer={data.answer} what="The alerts">{({ alerts }) => <Detail name={name} tags={tags} data={data} mine={alerts.filter((one) => one.name === name)} />}</Part>
    </Page>
  );
}

function Detail({ name, tags, data, mine }: DetailProps & { readonly mine: readonly AlertDoc[] }) {
  const rule = data.rules.get(name);
  const wanted = tags && JSON.stringify([name, tags]);
  const alert = mine.find((one) => wanted !== null && alertKey(one) === alertKey({ name, tags: tags ?? {} })) ?? (tags ? undefined : mine.length === 1 ? mine[0] : undefined);
  const others = mine.filter((one) => one !== alert);
  if (!alert && !rule && !mine.length) return <Gone name={name} />;
  return (
    <>
      <Now name={name} tags={alert?.tags ?? tags ?? {}} alert={alert} data={data} instances={mine.length} />
      <div className="columns">
        <Section title="Why"><Why name={name} tags={alert?.tags ?? tags ?? {}} expression={alert ? whyText(alert) : rule?.if ?? ""} /></Section>
        {rule && <WhatToDo alert={alert} rule={rule} />}
      </div>
      <Boundary what="The chart"><Drawing name={name} tags={alert?.tags ?? tags ?? {}} alert={alert} /></Boundary>
      {others.length > 0 && <Others alerts={others} />}
      {alert && <Happened alert={alert} />}
      {rule && <RuleFacts rule={rule} />}
    </>
  );
}

function Gone({ name }: { readonly name: string }) {
  return (
    <Empty title={`Nothing fires under “${visible(name)}”, and no rule has that name.`}>
      <p>It may have ended, or its rule was taken away. <a href={link("deliveries", { q: name })}>See who was told of it</a>.</p>
    </Empty>
  );
}

interface NowProps {
  readonly name: string;
  readonly tags: AlertDoc["tags"];
  readonly alert: AlertDoc | undefined;
  readonly data: AlertData;
  readonly instances: number;
}

function Now({ tags, alert, data, instances, name }: NowProps) {
  const maySilence = useMay("silence");
  const silences = data.silences.data ?? [];
  const rule = data.rules.get(name);
  if (!alert)
    return (
      <Section title="Now">
        {rule?.problem && <p className="field-error">{UNABLE[rule.state]}: <Told>{rule.problem}</Told></p>}
        <p><Calm instances={instances} isFailing={Boolean(rule?.problem)} /></p>
        <Tags tags={tags} />
      </Section>
    );
  return (
    <Section title="Now" actions={maySilence && <AlertActions alert={alert} instances={instances} silences={silences} />}>
      <div className="now">
        <Light state={lightOf(alert.state)} word={stateWord(alert.state)} />
        <strong className="now-value"><Told>{valueText(alert, rule?.unit ?? "")}</Told></strong>
        <Badge tone={alert.severity === "page" ? "bad" : "plain"}>{alert.severity}</Badge>
        <span>for <Time at={alert.since} look="for" />, since <Time at={alert.since} look="full" /></span>
        <Tags tags={alert.tags} />
      </div>
      <Standings alert={alert} silences={silences} />
    </Section>
  );
}

function Calm({ instances, isFailing }: { readonly instances: number; readonly isFailing: boolean }) {
  if (instances) return <Said tone="bad">{`${instances} alerts of this rule are pending or firing; they are listed below.`}</Said>;
  return isFailing ? <Said tone="waiting">Whether it would fire is not known.</Said> : <Said tone="good">Calm: nothing of it is pending or firing.</Said>;
}

// ---- its value over time

const RANGES = [["900", "15 min"], ["3600", "1 h"], ["21600", "6 h"], ["86400", "1 d"]] as const;

function Drawing({ name, tags, alert }: { readonly name: string; readonly tags: AlertDoc["tags"]; readonly alert: AlertDoc | undefined }) {
  const { data } = useRead(explainPath(name, tags), readExplain, EXPLAIN_EVERY_SECONDS);
  const [range, setRange] = useParameter("range", "900");
  const seconds = Number(range) > 0 ? Number(range) : 900;
  const drawn = data?.drawn ?? null;
  const query = drawn?.query ?? "";
  const exprs = useMemo(() => [query], [query]);
  const limit = drawn?.threshold ?? null;
  const thresholds = useMemo(() => (limit === null ? [] : [{ value: limit, name: `fires ${drawn?.operator ?? ""}`, tone: "bad" as const }]), [limit, drawn?.operator]);
  if (!drawn) return null;
  return (
    <Section title="Its value over time" note={limit === null ? "The left side of the condition, as the rule sees it." : `The left side of the condition, as the rule sees it, and the line it fires at: ${drawn.operator} ${withUnit(limit, drawn.unit)}.`} actions={<Choice label="How far back" value={String(seconds)} choices={RANGES} onValue={(next) => setRange(next)} />}>
      <MetricChart exprs={exprs} unit={drawn.unit} range={seconds} height={220} title={`${visible(name)}: the last ${span(seconds)}`} thresholds={thresholds} every={alert ? 5 : 15} />
    </Section>
  );
}

// ---- other alerts of the rule

const OTHERS_MAX = 50;

function Others({ alerts }: { readonly alerts: readonly AlertDoc[] }) {
  return (
    <Section title="Alerts of this rule" note={`${alerts.length} ${alerts.length === 1 ? "is" : "are"} pending or firing${alerts.length > OTHERS_MAX ? `; the first ${OTHERS_MAX}` : ""}.`}>
      <ul className="other-alerts">
        {alerts.slice(0, OTHERS_MAX).map((one) => (
          <li key={alertKey(one)}>
            <Light state={lightOf(one.state)} word={stateWord(one.state)} /> <a href={alertLink(one.name, one.tags)}>{Object.keys(one.tags).length ? <Tags tags={one.tags} /> : "without tags"}</a>
            <span className="quiet-text"> for <Time at={one.since} look="for" />{one.acknowledged ? `, ${one.acknowledged.by} has it` : ""}{one.silencedBy ? ", silenced" : ""}</span>
          </li>
        ))}
      </ul>
    </Section>
  );
}

// ---- what happened

const EVENTS_EVERY_SECONDS = 10;

function Happened({ alert }: { readonly alert: AlertDoc }) {
  const path = eventsPath((alert.since ?? 0) - 60);
  const answer = useRead(path, readEvents, EVENTS_EVERY_SECONDS);
  useNews(["alert", "action"], [path]);
  return (
    <Section title="What happened" note="This episode, from the moment the condition became true; oldest first.">
      <Part answer={answer} what="The journal">{(events) => <Moments moments={momentsOf(events, alert)} />}</Part>
    </Section>
  );
}

function Moments({ moments }: { readonly moments: readonly Moment[] }) {
  const now = useNow(60);
  if (!moments.length) return <Empty title="Nothing is written about it yet."><p>The journal keeps its newest 100,000 events; those of a long episode may be gone.</p></Empty>;
  return (
    <ol className="moments">
      {moments.map((one) => (
        <li key={one.key} className={`moment said-${one.tone}`}>
          <span className="moment-time"><Time at={one.time} look={Math.abs(now - one.time) < 43_200 ? "clock" : "full"} /></span>
          <Said tone={one.tone}><Told>{one.words}</Told>{one.detail && <span className="quiet-text"> <Told most={200}>{one.detail}</Told></span>}</Said>
        </li>
      ))}
    </ol>
  );
}

// ---- what people wrote about it

function WhatToDo({ alert, rule }: { readonly alert: AlertDoc | undefined; readonly rule: RuleDoc }) {
  const entries = Object.entries(rule.annotations);
  const said = (text: string): string => (alert ? filled(text, alert, rule) : text);
  if (!entries.length) return <Section title="What to do"><p className="quiet-text">Nobody has written it down. A rule’s annotations, such as summary and runbook, show here and in its notifications.</p></Section>;
  return (
    <Section title="What to do" note={alert ? "As the rule’s annotations say." : "As the rule’s annotations say; what stands in braces is filled in when it fires."}>
      <dl className="annotations">
        {entries.map(([key, text]) => <div key={key}><dt><Told>{key}</Told></dt><dd><Linked>{said(text)}</Linked></dd></div>)}
      </dl>
    </Section>
  );
}

function RuleFacts({ rule }: { readonly rule: RuleDoc }) {
  const facts: readonly (readonly [string, string])[] = [
    ["For", rule.for === "0s" || !rule.for ? "fires at once" : rule.for],
    ["Keep", rule.keep === "0s" || !rule.keep ? "ends at once" : rule.keep],
    ["Ends", rule.recover || "when the condition is false"],
    ["Looks at", rule.where || "every series"],
    ["One alert for", eachOf(rule.groupBy) || "all together"],
    ["Without data", NODATA[rule.nodata] ?? rule.nodata],
    ["Judged every", rule.every],
    ["Tells", rule.notify.map(receiverName).join(", ") || "whom the routes name, else the log"],
    ["Escalates by", rule.policy || "the first policy that matches, if any"],
    ["Written in", rule.source],
  ];
  return <Section title="The rule"><Facts items={facts.map(([name, value]) => [name, <Told key={name}>{value}</Told>] as const)} />{Object.keys(rule.tags).length > 0 && <Tags tags={rule.tags} />}</Section>;
}

const NODATA: Readonly<Record<string, string>> = { keep: "stays as it is", ok: "counts as calm", alert: "counts as true" };
