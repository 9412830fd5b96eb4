/** One panel of a board. An error in one stays in it. */

import { useMemo, type ReactNode } from "react";
import { MetricChart, useAlerts, useCells, useQueries, type Asked } from "@hms-ops/react";
import type { QueryAnswer, QuerySeries } from "@hms-ops/client";
import { tagText, withUnit } from "../kit/format";
import { lightOf } from "../kit/lights";
import { Light, Name, Time } from "../kit/marks";
import { Boundary, Empty, ErrorNote, Loading } from "../kit/notes";
import { Table, type Column } from "../kit/table";
import { useUnits } from "../pages/parts/units";
import { link } from "../router";
import { useIsStale, usePaused } from "../shell/state";
import { AlertCards } from "../wall/attention";
import { goodWords, isGood, linked, type Panel } from "./board";

export interface PanelProps {
  readonly panel: Panel;
  /** Seconds instead of the panel's own. */
  readonly range: number | null;
}

const EVERY_SECONDS = 5;
const KINDS = { chart: ChartPanel, number: NumberPanel, light: LightPanel, table: TablePanel, alerts: AlertsPanel, text: TextPanel } as const;

export function PanelBox({ panel, range, columns }: PanelProps & { readonly columns: number }) {
  const Inside = KINDS[panel.kind] ?? TextPanel;
  const title = panel.title || panel.metric || panel.alert || panel.exprs[0] || "";
  const hasOwnTitle = panel.kind === "chart";
  return (
    <div role="group" className={`panel panel-${panel.kind} span-${Math.min(panel.width, columns)}`} aria-label={title || panel.kind}>
      {title && !hasOwnTitle && <h2><Name>{title}</Name></h2>}
      <Boundary what="This panel" resetKey={JSON.stringify(panel)}><Inside panel={panel} range={range} /></Boundary>
    </div>
  );
}

/** Its own, else what the engine says of its metric. */
function useUnit({ unit, metric }: Panel): string {
  const units = useUnits();
  return unit || (units.get(metric ?? "") ?? "");
}

function ChartPanel({ panel, range }: PanelProps) {
  const paused = usePaused();
  const unit = useUnit(panel);
  const about = { title: panel.title || panel.metric || panel.exprs.join(", "), unit, range: range ?? panel.range, height: 200, syncKey: "board", paused };
  if (panel.metric) return <><MetricChart {...about} metric={panel.metric} /><p className="panel-more"><a href={link("metric", { name: panel.metric })}>More of {panel.metric}</a></p></>;
  return <MetricChart {...about} exprs={panel.exprs} every={EVERY_SECONDS} />;
}

/** The newest value of each expression, or of the metric from the stream. */
function useValues(panel: Panel): { readonly asked: Asked<readonly QueryAnswer[]>; readonly values: readonly { readonly label: string; readonly value: number | null }[] } {
  const asked = useQueries(panel.exprs, { every: usePaused() ? undefined : EVERY_SECONDS });
  const cells = useCells(panel.exprs.length || !panel.metric ? "" : panel.metric);
  const values = useMemo(() => {
    if (panel.metric && !panel.exprs.length) return [{ label: "", value: cells.at(-1)?.value ?? null }];
    return (asked.data ?? []).flatMap((answer) => answer.series.map((series) => ({ label: labelOf(series, answer), value: newest(series) })));
  }, [asked.data, cells, panel]);
  return { asked, values };
}

const newest = (series: QuerySeries): number | null => series.points.at(-1)?.[1] ?? null;

/** The value of one tag needs no name beside it: the panel's title says it. */
function labelOf({ tags }: QuerySeries, answer: QueryAnswer): string {
  const values = Object.values(tags);
  return values.length === 1 && values[0] ? values[0] : tagText(tags) || answer.expr;
}

function Answered({ asked, isEmpty, children }: { readonly asked: Asked<unknown>; readonly isEmpty: boolean; readonly children: ReactNode }) {
  if (asked.error && !asked.data) return <ErrorNote title="The engine could not answer" error={asked.error} />;
  if (asked.loading && !asked.data) return <Loading />;
  return <>{isEmpty ? <Empty title="No value now." /> : children}{asked.error && <p className="field-error">{`Not up to date: ${asked.error}`}</p>}</>;
}

export const NUMBERS_MAX = 12;

function NumberPanel({ panel }: PanelProps) {
  const { asked, values } = useValues(panel);
  const isCounter = useCells(panel.metric ?? "", 1).at(-1)?.kind === "counter";
  const own = useUnit(panel);
  const unit = panel.unit || `${own}${isCounter ? "/s" : ""}`;
  const goal = goodWords(panel, (value) => withUnit(value, unit));
  return (
    <Answered asked={panel.exprs.length ? asked : { ...asked, loading: false }} isEmpty={!values.length}>
      <ul className="numbers">
        {values.slice(0, NUMBERS_MAX).map(({ label, value }) => (
          <li key={label}>
            <span className="number value">{withUnit(value, unit)}</span>
            {values.length > 1 && <Name>{label}</Name>}
            {goal && <Goodness good={isGood(panel, value)} goal={goal} />}
          </li>
        ))}
      </ul>
    </Answered>
  );
}

function Goodness({ good, goal }: { readonly good: boolean | null; readonly goal: string }) {
  const isStale = useIsStale();
  const state = isStale || good === null ? "waiting" : good ? "good" : "bad";
  return <span className="goodness"><Light state={state} word={isStale ? "Not known" : good === null ? "No value" : good ? "Good" : "Not good"} />{goal && <span className="quiet-text"> ({goal})</span>}</span>;
}

function LightPanel({ panel }: PanelProps) {
  return panel.alert ? <AlertLight name={panel.alert} /> : <NumberPanel panel={panel} range={null} />;
}

const WORDS: Readonly<Record<string, string>> = { firing: "Firing", pending: "Pending", inactive: "Not firing" };

function AlertLight({ name }: { readonly name: string }) {
  const { alerts, rules } = useAlerts();
  const isStale = useIsStale();
  const own = alerts.filter((alert) => alert.name === name);
  const worst = own.find((alert) => alert.state === "firing") ?? own[0];
  if (!worst && !rules.some((rule) => rule.alert === name)) return <p className="big-light"><Light state="waiting" word={rules.length ? "There is no rule of this name" : "Waiting"} /></p>;
  const state = worst?.state ?? "inactive";
  return (
    <p className="big-light">
      <Light state={isStale ? "waiting" : lightOf(state)} word={isStale ? "Not known" : (WORDS[state] ?? state)} />
      {worst && <span className="quiet-text">for <Time at={worst.since} look="for" /></span>}
      <a href={link("alerts", { name })}>{name}</a>
    </p>
  );
}

interface ValueRow {
  readonly label: string;
  readonly value: number | null;
}

function TablePanel({ panel }: PanelProps) {
  const { asked, values } = useValues(panel);
  const goal = goodWords(panel, (value) => withUnit(value, panel.unit));
  const columns: readonly Column<ValueRow>[] = [
    { key: "label", title: "Series", value: (row) => row.label, cell: (row) => <Name>{row.label}</Name> },
    { key: "value", title: "Now", value: (row) => row.value, cell: (row) => <span className="value">{withUnit(row.value, panel.unit)}</span>, align: "end" },
    ...(goal ? [{ key: "good", title: `State (${goal})`, value: (row: ValueRow) => Number(isGood(panel, row.value)), cell: (row: ValueRow) => <Goodness good={isGood(panel, row.value)} goal="" /> }] : []),
  ];
  return <Answered asked={asked} isEmpty={!values.length}><Table caption={panel.title || "Values"} columns={columns} rows={values} rowKey={(row) => row.label} sort="-value" sortParameter={null} limit={20} /></Answered>;
}

function AlertsPanel() {
  const { alerts } = useAlerts();
  const isStale = useIsStale();
  if (isStale && !alerts.length) return <p className="big-light"><Light state="waiting" word="Not known" /></p>;
  return alerts.length ? <AlertCards alerts={alerts} /> : <p className="big-light"><Light state="good" word="No alert is firing" /></p>;
}

function TextPanel({ panel }: PanelProps) {
  return <p className="panel-words">{linked(panel.text).map((part, at) => (part.href ? <a key={at} href={part.href} rel="noreferrer noopener">{part.text}</a> : part.text))}</p>;
}
