/** Who watches this metric: rules that read it with their state, and the anomalies that were found in it. */

import { useMemo } from "react";
import type { RuleDocument } from "@hms-ops/client";
import { useAlerts } from "@hms-ops/react";
import { span, withUnit } from "../kit/format";
import { useNow } from "../kit/clock";
import { lightOf } from "../kit/lights";
import { Code, Light, Name, Time } from "../kit/marks";
import { Empty } from "../kit/notes";
import { Section } from "../kit/page";
import { Table, type Column } from "../kit/table";
import { link } from "../router";
import { namesIn } from "../wall/rules";
import type { Episode } from "./anomalies";

const WORDS: Readonly<Record<string, string>> = { firing: "Firing", pending: "Pending", inactive: "OK" };

export function Rules({ name }: { readonly name: string }) {
  const { alerts, rules } = useAlerts();
  const reading = useMemo(() => rules.filter((rule) => rule.alert === name || namesIn(rule.if).includes(name) || rule.if.includes(`"${name}"`)), [rules, name]);
  const stateOf = (rule: RuleDocument): string => {
    const states = alerts.filter((alert) => alert.name === rule.alert).map((alert) => alert.state);
    return states.includes("firing") ? "firing" : states.includes("pending") ? "pending" : "inactive";
  };
  const columns: readonly Column<RuleDocument>[] = [
    { key: "state", title: "State", value: stateOf, cell: (rule) => <Light state={lightOf(stateOf(rule))} word={WORDS[stateOf(rule)] ?? stateOf(rule)} /> },
    { key: "rule", title: "Rule", value: (rule) => rule.alert, cell: (rule) => <a href={link("alerts", { name: rule.alert })}><Name>{rule.alert}</Name></a>, isHead: true },
    { key: "if", title: "Condition", value: (rule) => rule.if, cell: (rule) => <Code>{rule.for === "0s" ? rule.if : `${rule.if} for ${rule.for}`}</Code>, isFixed: true },
  ];
  return (
    <Section title="Rules that read it">
      <Table caption={`Rules that read ${name}`} columns={columns} rows={reading} rowKey={(rule) => rule.alert} sortParameter={null} empty={<Empty title="No rule reads this metric."><p>Nobody is told, whatever it does.</p></Empty>} />
    </Section>
  );
}

export function RecentAnomalies({ episodes, unit }: { readonly episodes: readonly Episode[]; readonly unit: string }) {
  const now = useNow();
  const columns: readonly Column<Episode>[] = [
    { key: "from", title: "Began", value: (one) => one.from, cell: (one) => <Time at={one.from} look="full" /> },
    { key: "to", title: "Lasted", value: (one) => (one.to ?? now) - one.from, cell: (one) => (one.to === null ? <Light state="warn" word={`goes on, ${span(Math.floor(now - one.from))}`} /> : span(one.to - one.from)) },
    { key: "value", title: "Farthest value", value: (one) => one.value, cell: (one) => withUnit(one.value, unit), align: "end" },
    { key: "expected", title: "Expected", value: (one) => one.expected, cell: (one) => withUnit(one.expected, unit), align: "end" },
    { key: "name", title: "Detector", value: (one) => one.name, cell: (one) => <Name>{one.name}</Name> },
    { key: "series", title: "Series", value: (one) => one.series, cell: (one) => <Code>{one.series}</Code>, isExtra: true },
  ];
  return (
    <Section title="Recent anomalies" note="Shaded in the chart above.">
      <Table caption="Recent anomalies of this metric" columns={columns} rows={episodes} rowKey={(one) => `${one.from} ${one.name} ${one.series}`} sort="-from" sortParameter={null} limit={10} empty={<Empty title="No anomaly was found in it lately." />} />
    </Section>
  );
}
