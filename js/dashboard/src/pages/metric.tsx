/** One metric in detail: its line with zoom and history, by tag, in percentiles, who watches it, and any question. */

import { useMemo } from "react";
import { MetricChart, useAlerts } from "@hms-ops/react";
import type { Kind } from "@hms-ops/client";
import { toast } from "../kit/announce";
import { engineNow } from "../kit/clock";
import { useDocument } from "../kit/document";
import { Button, ButtonLink } from "../kit/form";
import { count } from "../kit/format";
import { Light } from "../kit/marks";
import { Boundary, Empty, ErrorNote, Loading } from "../kit/notes";
import { Facts, Page, Section } from "../kit/page";
import { episodesOf, merged, type AnomalyRecord } from "../metric/anomalies";
import { Ask } from "../metric/ask";
import { ByTag } from "../metric/by-tag";
import { firstQuestion, hasPercentiles, percentilesOf } from "../metric/expressions";
import { RangePicker, useRange, zoomTo } from "../metric/range-picker";
import { Unheard } from "../metric/unheard";
import { RecentAnomalies, Rules } from "../metric/watchers";
import { useRoute } from "../router";
import { usePaused } from "../shell/state";
import type { Metric as MetricInfo } from "../wall/arrange";
import { lightsOf } from "../wall/rules";
import { metricsOf, type MetricsAnswer } from "../wall/source";
import "../style/metric.css";

export default function Metric() {
  const { name = "" } = useRoute().parameters;
  if (!name) return <Page title="Metric"><Empty title="No metric is named."><p>Choose one on <a href="#/">the overview</a>.</p></Empty></Page>;
  return <Named key={name} name={name} />;
}

function Named({ name }: { readonly name: string }) {
  const { data, error, reload } = useDocument<MetricsAnswer>(`/v1/metrics?limit=1&prefix=${encodeURIComponent(name)}`, { every: 10 });
  const info = metricsOf(data).find((metric) => metric.metric === name);
  const question = firstQuestion(name, info?.kind ?? "gauge");
  const actions = (
    <>
      <Button onClick={() => void copy(question)}>Copy query</Button>
      <ButtonLink href="/docs#language">Documentation</ButtonLink>
    </>
  );
  return (
    <Page title={name} lead={info?.help || wordsOf(info)} actions={actions}>
      {error && !data && <ErrorNote title="The metric could not be read" error={error} retry={() => void reload()} />}
      {!data && !error && <Loading label="Reading the metric" />}
      {data && !info && <Unheard name={name}><Parts name={name} kind="gauge" unit="" info={info} question={question} /></Unheard>}
      {info && <Parts name={name} kind={info.kind} unit={info.unit} info={info} question={question} />}
    </Page>
  );
}

async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast(`Copied: ${text}`, "good");
  } catch {
    toast(`The browser does not allow copying. The query is: ${text}`, "warn");
  }
}

const KINDS: Readonly<Record<string, string>> = {
  counter: "Counts events; shown per second.",
  gauge: "A value that goes up and down; the latest counts.",
  timer: "Measures durations; shown as the mean of each second, with the least and the most.",
  histogram: "Measures a distribution; shown as the mean of each second.",
  distribution: "Measures a distribution; shown as the mean of each second.",
  set: "Counts different values.",
};

const wordsOf = (info: MetricInfo | undefined): string => (info?.rule ? "The gauge of a rule: 1 while it fires, else 0." : KINDS[info?.kind ?? ""] ?? "");

interface PartsProps {
  readonly name: string;
  readonly kind: string;
  readonly unit: string;
  readonly info: MetricInfo | undefined;
  readonly question: string;
}

const EVENTS_MAX = 1000;
const HOUR = 3600;

function Parts({ name, kind, unit, info, question }: PartsProps) {
  const range = useRange();
  // Rounded to the hour, so that the same document is asked for again and again.
  const since = Math.floor((range.fixed?.from ?? engineNow() - Math.max(range.seconds, HOUR)) / HOUR) * HOUR;
  const events = useDocument<{ events: readonly AnomalyRecord[] }>(`/v1/events?kind=anomaly&limit=${EVENTS_MAX}&since=${since}`, { every: 5 });
  const records = useMemo(() => (events.data?.events ?? []).filter((event) => event.metric === name), [events.data, name]);
  const episodes = useMemo(() => episodesOf(records), [records]);
  const anomalies = useMemo(() => merged(episodes), [episodes]);
  const paused = usePaused();
  const shown = range.fixed ?? { range: range.seconds };
  const chart = { unit: kind === "counter" ? `${unit}/s` : unit, anomalies, syncKey: "metric", paused, onRange: zoomTo, ...shown };
  const percentiles = useMemo(() => percentilesOf(name), [name]);
  return (
    <>
      <Boundary what="The chart">
        <Section title="Over time" note={kind === "set" && "The engine keeps no history of sets: the line begins a minute before it is looked at."} actions={<RangePicker />}>
          <MetricChart title={name} metric={name} kind={kind as Kind} height={320} {...chart} />
          <State name={name} info={info} />
        </Section>
      </Boundary>
      {hasPercentiles(kind) && (
        <Boundary what="The percentiles">
          <Section title="Percentiles" note="Half of all samples are below p50, 95 of 100 below p95, 99 of 100 below p99.">
            <MetricChart title={`${name}, percentiles`} exprs={percentiles} height={220} every={5} {...chart} />
          </Section>
        </Boundary>
      )}
      <Boundary what="The tags"><ByTag name={name} kind={kind} unit={unit} /></Boundary>
      <Boundary what="The rules"><Rules name={name} /></Boundary>
      <Boundary what="The anomalies"><RecentAnomalies episodes={episodes} unit={unit} /></Boundary>
      <Boundary what="The question"><Ask preset={question} unit={unit} /></Boundary>
    </>
  );
}

function State({ name, info }: { readonly name: string; readonly info: MetricInfo | undefined }) {
  const { alerts, rules } = useAlerts();
  const light = useMemo(() => lightsOf(rules, alerts)(name), [rules, alerts, name]);
  const words = { good: "No rule fires", bad: "A rule fires", warn: "A rule is pending", waiting: "Waiting", off: "No rule reads it" }[light];
  return (
    <Facts items={[
      ["State", <Light state={light} word={words} />],
      ["Kind", info?.kind ?? "not known"],
      ["Unit", info?.unit || "no unit"],
      ["Series", count(info?.series ?? 0)],
    ]} />
  );
}
