/** Every rule that is watched: its state, what it says, where it stands, whom it tells. */

import { useMemo } from "react";
import { SelectField, TextField } from "../kit/form";
import { plural } from "../kit/format";
import { Badge, Light, type LightState } from "../kit/marks";
import { Empty } from "../kit/notes";
import { Section, Toolbar } from "../kit/page";
import { Table, type Column } from "../kit/table";
import { change, useRoute } from "../router";
import { alertLink, type AlertData } from "./parts/alertdata";
import { hasWords } from "./parts/alertfilter";
import { eachOf } from "./parts/alertwords";
import { receiverName } from "./parts/decisionwords";
import type { AlertDoc, RuleDoc } from "./parts/documents";
import { Part } from "./parts/part";
import { Told } from "./parts/told";

interface RuleRow {
  readonly rule: RuleDoc;
  readonly light: LightState;
  readonly state: string;
  /** firing, pending, calm, or why it can't be one of these: what the filter asks for. */
  readonly is: string;
}

const RANKS: Readonly<Record<string, number>> = { firing: 0, "not evaluated": 1, "never matched": 2, pending: 3, calm: 4 };
export const UNABLE: Readonly<Record<string, string>> = { "not evaluated": "Not evaluated", "never matched": "Never matched" };

export function RuleList({ data }: { readonly data: AlertData }) {
  return <Part answer={data.answer} what="The rules">{({ alerts, rules }) => <Rules alerts={alerts} rules={rules} />}</Part>;
}

/** A rule with what its alerts come to; one that cannot fire says so whatever its alerts were. */
export function ruleRow(rule: RuleDoc, alerts: readonly AlertDoc[]): RuleRow {
  const firing = alerts.filter((one) => one.state === "firing").length;
  const pending = alerts.length - firing;
  const unable = UNABLE[rule.state];
  if (unable) return { rule, light: "waiting", state: unable, is: rule.state };
  if (firing) return { rule, light: "bad", state: firing > 1 ? `${firing} firing` : "Firing", is: "firing" };
  if (pending) return { rule, light: "warn", state: pending > 1 ? `${pending} pending` : "Pending", is: "pending" };
  return { rule, light: "good", state: "Calm", is: "calm" };
}

interface RulesProps {
  readonly alerts: readonly AlertDoc[];
  readonly rules: readonly RuleDoc[];
}

function Rules({ alerts, rules }: RulesProps) {
  const { q = "", state = "" } = useRoute().parameters;
  const rows = useMemo(() => {
    const byName = new Map<string, AlertDoc[]>();
    for (const alert of alerts) byName.set(alert.name, [...(byName.get(alert.name) ?? []), alert]);
    return rules.map((rule) => ruleRow(rule, byName.get(rule.name) ?? []));
  }, [alerts, rules]);
  const found = rows.filter(({ rule, is }) => (!state || is === state) && hasWords([rule.name, rule.if, rule.source, rule.severity, rule.notify.join(" ")], q));
  if (!rules.length)
    return <Empty title="There are no rules yet."><p>Write them into a file that engine.yaml names under rules, or post one: POST /v1/alerts. docs/alerts.md has the language.</p></Empty>;
  return (
    <Section title="Rules" note={`${plural(found.length, "rule")}${found.length < rules.length ? ` of ${rules.length}` : ""}. Each is judged once a second unless it says EVERY.`}>
      <Toolbar label="Filter rules">
        <TextField label="Find a rule" isLabelUnseen type="search" placeholder="Find" value={q} onValue={(text) => change({ q: text })} />
        <SelectField label="State" isLabelUnseen value={state} onValue={(next) => change({ state: next })} choices={[["", "Every state"], ["firing", "Firing"], ["pending", "Pending"], ["calm", "Calm"], ...Object.entries(UNABLE)]} />
      </Toolbar>
      <Table caption="Rules and their state" columns={COLUMNS} rows={found} rowKey={({ rule }) => rule.name} sort="state" sortParameter="sort" empty={<Empty title="No rule matches." />} rowClass={({ is }) => (is === "firing" ? "is-bad" : "")} />
    </Section>
  );
}

const COLUMNS: readonly Column<RuleRow>[] = [
  { key: "state", title: "State", value: ({ is }) => RANKS[is] ?? 9, cell: ({ light, state }) => <Light state={light} word={state} /> },
  { key: "name", title: "Rule", isHead: true, value: ({ rule }) => rule.name, cell: ({ rule }) => <a href={alertLink(rule.name)}><Told>{rule.name}</Told></a> },
  { key: "if", title: "Condition", value: ({ rule }) => rule.if, cell: ({ rule }) => <Condition rule={rule} /> },
  { key: "for", title: "For", value: ({ rule }) => rule.for, cell: ({ rule }) => (rule.for && rule.for !== "0s" ? rule.for : "at once") },
  { key: "severity", title: "Severity", value: ({ rule }) => rule.severity, cell: ({ rule }) => <Badge tone={rule.severity === "page" ? "bad" : "plain"}>{rule.severity}</Badge> },
  { key: "notify", title: "Tells", value: ({ rule }) => rule.notify.join(", "), cell: ({ rule }) => <Tells rule={rule} /> },
  { key: "source", title: "Written in", value: ({ rule }) => rule.source, cell: ({ rule }) => <Told>{rule.source}</Told> },
];

function Condition({ rule }: { readonly rule: RuleDoc }) {
  return (
    <>
      <Told isCode most={200}>{rule.if}</Told>
      {rule.where && <> <span className="quiet-text">where</span> <Told isCode>{rule.where}</Told></>}
      {rule.groupBy.length > 0 && <span className="quiet-text"> for <Told>{eachOf(rule.groupBy)}</Told></span>}
      {rule.problem && <p className="field-error"><Told>{rule.problem}</Told></p>}
    </>
  );
}

function Tells({ rule }: { readonly rule: RuleDoc }) {
  const whom = rule.notify.map(receiverName).join(", ");
  return <Told>{[whom, rule.policy && `policy ${rule.policy}`].filter(Boolean).join("; ") || "routes, else the log"}</Told>;
}
