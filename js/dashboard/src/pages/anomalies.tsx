/** Anomalies: what the detectors found unusual, how far from what was expected, drawn on the metric's chart. */

import { useMemo } from "react";
import { visible } from "@hms-ops/core";
import { MetricChart } from "@hms-ops/react";
import { useNow } from "../kit/clock";
import { Button, Choice, TextField } from "../kit/form";
import { plural, span, tagText, withUnit } from "../kit/format";
import { Light, Time, type LightState } from "../kit/marks";
import { Empty } from "../kit/notes";
import { Page, Section, Toolbar } from "../kit/page";
import { Table, type Column } from "../kit/table";
import { change, link, useParameter, useRoute } from "../router";
import { ALERTS_EVERY_SECONDS, alertLink } from "./parts/alertdata";
import { hasWords } from "./parts/alertfilter";
import { alertKey } from "./parts/alertwords";
import { readAlerts } from "./parts/documents";
import { episodesOf, score, scoreWords, shades, stateOf, type AnomalyEpisode, type EpisodeState } from "./parts/episodes";
import { anomalyOf, readEvents, type Happening } from "./parts/happenings";
import { Part } from "./parts/part";
import { Tags, Told } from "./parts/told";
import { useUnits } from "./parts/units";
import { useNews, useRead } from "./parts/use";
import "./parts/pages.css";

export const EVENTS_READ = 2_000;
const PATH = `/v1/events?kind=anomaly&limit=${EVENTS_READ}`;
const NO_ALERTS: ReadonlySet<string> = new Set();
const RANGES = [["900", "15 min"], ["3600", "1 h"], ["21600", "6 h"], ["86400", "1 d"]] as const;

export default function Anomalies() {
  const answer = useRead(PATH, readEvents, 15);
  useNews(["anomaly"], [PATH]);
  return (
    <Page title="Anomalies" lead="What the detectors found unusual: a second far from what its own past let expect.">
      <Part answer={answer} what="The anomalies">{(events) => <Found events={events} />}</Part>
    </Page>
  );
}

/** The keys of alerts that fire: an anomaly without an end lasts as long as its alert does. */
function useFiring(): ReadonlySet<string> {
  const { data } = useRead("/v1/alerts", readAlerts, ALERTS_EVERY_SECONDS);
  return useMemo(() => (data ? new Set(data.alerts.filter((one) => one.state === "firing").map(alertKey)) : NO_ALERTS), [data]);
}

function Found({ events }: { readonly events: readonly Happening[] }) {
  const { q = "", state = "", open = "" } = useRoute().parameters;
  const all = useMemo(() => episodesOf(events.map(anomalyOf)), [events]);
  const units = useUnits();
  const firing = useFiring();
  const found = all.filter((one) => (!state || state === stateOf(one, firing)) && hasWords([one.name, one.metric, tagText(one.tags)], q));
  const shown = all.find((one) => one.key === open) ?? found[0] ?? null;
  const columns = useMemo(() => columnsOf(units, firing, shown?.key ?? ""), [units, firing, shown?.key]);
  if (!all.length)
    return <Empty title="Nothing unusual was found."><p>A detector compares each second of a metric with its own past. Detectors stand in rule files, under anomalies: docs/alerts.md has an example.</p></Empty>;
  const lasting = all.filter((one) => stateOf(one, firing) === "lasts").length;
  return (
    <>
      {shown && <Drawing episode={shown} all={all} firing={firing} unit={units.get(shown.metric) ?? ""} />}
      <Section title="Found" note={`${plural(all.length, "anomaly", "anomalies")}, ${lasting ? `${lasting} of them ${lasting === 1 ? "is" : "are"} going on` : "none is going on"}. Score: how many times the expected value was seen.`}>
        <Toolbar label="Filter anomalies">
          <Choice label="Which" value={state} choices={[["", "All"], ["lasts", "Lasting"], ["ended", "Ended"]]} onValue={(next) => change({ state: next })} />
          <TextField label="Find by metric, detector or tag" isLabelUnseen type="search" placeholder="Find" value={q} onValue={(text) => change({ q: text })} />
        </Toolbar>
        <Table caption="Anomalies" columns={columns} rows={found} rowKey={(one) => one.key} sort="-began" sortParameter="sort" empty={<Empty title="No anomaly matches." />} rowClass={(one) => (stateOf(one, firing) === "lasts" ? "is-bad" : "")} limit={50} />
      </Section>
    </>
  );
}

interface DrawingProps {
  readonly episode: AnomalyEpisode;
  readonly all: readonly AnomalyEpisode[];
  readonly firing: ReadonlySet<string>;
  readonly unit: string;
}

function Drawing({ episode, all, firing, unit }: DrawingProps) {
  const [range, setRange] = useParameter("range", "900");
  const now = useNow(5);
  const mine = useMemo(() => shades(all.filter((one) => one.metric === episode.metric), firing, now), [all, firing, episode.metric, now]);
  const seconds = Number(range) > 0 ? Number(range) : 900;
  const back = Math.max(seconds, episode.began === null ? 0 : Math.ceil((now - episode.began) * 1.1));
  return (
    <Section title={visible(episode.metric)} note={`Shaded where it was unusual. ${describe(episode, unit)}`} actions={<Choice label="How far back" value={String(seconds)} choices={RANGES} onValue={setRange} />}>
      <MetricChart metric={episode.metric} unit={unit} range={Math.min(back, 7 * 86_400)} height={220} anomalies={mine} />
    </Section>
  );
}

function describe(one: AnomalyEpisode, unit: string): string {
  const seen = `${withUnit(one.value, unit)} was seen, ${withUnit(one.expected, unit)} expected`;
  return `${one.name}${tagText(one.tags)}: ${seen}, ${scoreWords(one)}.`;
}

const STATES: Readonly<Record<EpisodeState, readonly [LightState, string]>> = { lasts: ["bad", "Lasts"], ended: ["good", "Ended"], lost: ["waiting", "End unknown"] };

const columnsOf = (units: ReadonlyMap<string, string>, firing: ReadonlySet<string>, open: string): readonly Column<AnomalyEpisode>[] => [
  { key: "state", title: "State", value: (one) => stateOf(one, firing), cell: (one) => { const [light, word] = STATES[stateOf(one, firing)]; return <Light state={light} word={word} />; } },
  { key: "metric", title: "Metric", isHead: true, value: (one) => one.metric, cell: (one) => <><a href={link("metric", { name: one.metric })}><Told>{one.metric}</Told></a> <Tags tags={one.tags} /></> },
  { key: "score", title: "Score", align: "end", value: score, cell: (one) => <strong>{score(one) === null ? "–" : `${score(one)?.toFixed(1)} ×`}</strong> },
  { key: "value", title: "Seen", align: "end", value: (one) => one.value, cell: (one) => withUnit(one.value, units.get(one.metric) ?? "") },
  { key: "expected", title: "Expected", align: "end", value: (one) => one.expected, cell: (one) => withUnit(one.expected, units.get(one.metric) ?? "") },
  { key: "began", title: "Began", value: (one) => one.began, cell: (one) => (one.began === null ? "before the journal" : <Time at={one.began} />) },
  { key: "lasted", title: "Lasted", value: (one) => (one.began === null || one.ended === null ? null : one.ended - one.began), cell: (one) => <Lasted episode={one} state={stateOf(one, firing)} /> },
  { key: "name", title: "Detector", value: (one) => one.name, cell: (one) => <a href={alertLink(one.name, one.tags)}><Told>{one.name}</Told></a> },
  { key: "show", title: "Chart", isFixed: true, value: () => null, cell: (one) => <Button size="small" aria-pressed={one.key === open} aria-label={`Show ${one.metric} ${tagText(one.tags)} on the chart`} onClick={() => change({ open: one.key }, true)}>Show</Button> },
];

function Lasted({ episode: { began, ended }, state }: { readonly episode: AnomalyEpisode; readonly state: EpisodeState }) {
  if (began === null || state === "lost") return <>–</>;
  return ended === null ? <><Time at={began} look="for" />, still</> : <>{span(Math.max(1, ended - began))}</>;
}
