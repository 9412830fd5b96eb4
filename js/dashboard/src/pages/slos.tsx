/** Service levels: what is promised, what was kept, what is left of the error budget and how fast it is spent. */

import { useMemo } from "react";
import { visible } from "@hms-ops/core";
import { MetricChart } from "@hms-ops/react";
import { Button, Choice } from "../kit/form";
import { number, span, tagText } from "../kit/format";
import { Light } from "../kit/marks";
import { Boundary, Empty } from "../kit/notes";
import { Page, Section } from "../kit/page";
import { Table, type Column } from "../kit/table";
import { useParameter } from "../router";
import { alertLink } from "./parts/alertdata";
import { readSlos, type SloDoc, type SloGroup } from "./parts/engine";
import { Meter } from "./parts/meter";
import { Part } from "./parts/part";
import { BURNS, budgetWords, burnStates, keptText, overallWords, promise, sloState, spentIn, type Burn, type BurnState, type SloTone } from "./parts/slowords";
import { Said, Tags, Told } from "./parts/told";
import { useNews, useRead } from "./parts/use";
import "./parts/pages.css";

const PATH = "/v1/slos";

export default function Slos() {
  const answer = useRead(PATH, readSlos, 10);
  useNews(["alert"], [PATH]);
  return (
    <Page title="Service levels" lead={answer.data?.length ? overallWords(answer.data) : "What is promised, what was kept, and what is left of the error budget."}>
      <Part answer={answer} what="The service levels">
        {(slos) => (slos.length ? slos.map((slo) => <One key={slo.name} slo={slo} />) : <NoSlos />)}
      </Part>
    </Page>
  );
}

function NoSlos() {
  return (
    <Empty title="Nothing is promised yet.">
      <p>A service level says which share of events is to be good over a time, such as 99.9 % of calls within 200 ms in 30 days. It stands in a rule file under slos; config/rules/finance-slo.yaml is one to start from.</p>
    </Empty>
  );
}

function One({ slo }: { readonly slo: SloDoc }) {
  const [open, setOpen] = useParameter("open");
  const isOpen = open === slo.name;
  const button = <Button size="small" aria-expanded={isOpen} onClick={() => setOpen(isOpen ? "" : slo.name, true)}>{isOpen ? "Hide" : "Show"} burn rates and charts<span className="unseen">{` of ${visible(slo.name)}`}</span></Button>;
  return (
    <Section title={visible(slo.name)} note={<Told>{promise(slo)}</Told>} actions={button}>
      {!slo.groups.length && <Empty title="No group has sent anything yet."><p>Each {slo.groupBy.join(", ")} has a promise of its own as soon as it sends.</p></Empty>}
      <ul className="slo-groups">{slo.groups.map((group) => <li key={tagText(group.tags)}><Group slo={slo} group={group} /></li>)}</ul>
      {isOpen && <Boundary what="The charts"><Charts slo={slo} /></Boundary>}
      <p className="note">Written in <Told>{slo.source}</Told>.</p>
    </Section>
  );
}

const METERS: Readonly<Record<SloTone, "good" | "warn" | "bad" | "waiting">> = { good: "good", warn: "warn", bad: "bad", waiting: "waiting" };

function Group({ slo, group }: { readonly slo: SloDoc; readonly group: SloGroup }) {
  const state = sloState(group.state);
  const words = budgetWords(slo, group);
  const tone = state.tone === "good" && group.budget < 0.25 ? "warn" : METERS[state.tone];
  const left = spentIn(slo, group);
  return (
    <div className="slo-group">
      <div className="slo-state">
        <Tags tags={group.tags} />
        <Light state={state.tone} word={state.word} />
        <span className="slo-kept">{keptText(group.compliance)}</span>
        <span className="quiet-text">good so far</span>
      </div>
      <div className="slo-budget">
        <Meter share={group.budget} tone={tone} label={`Error budget left of ${slo.name}${tagText(group.tags)}`} words={words} />
        <p>{words}{left !== null && ` At the pace of the last hour it lasts ${span(left)} more.`}</p>
        <Burning slo={slo} group={group} />
      </div>
    </div>
  );
}

/** What burns too fast, said at once; the rest is in the table below. */
function Burning({ slo, group }: { readonly slo: SloDoc; readonly group: SloGroup }) {
  const found = burnStates(slo, group).filter((one) => one.state === "fires");
  if (!found.length) return null;
  return (
    <ul className="standings is-column">
      {found.map((one) => <li key={one.burn.name}><Said tone={one.burn.isPage ? "bad" : "warn"}><a href={alertLink(`${slo.name}.${one.burn.name}`, group.tags)}>{one.burn.isPage ? "Pages" : "A ticket"}</a>: {one.words}</Said></li>)}
    </ul>
  );
}

// ---- burn rates and charts

const RANGES = [["3600", "1 h"], ["21600", "6 h"], ["86400", "1 d"], ["604800", "7 d"], ["2592000", "30 d"]] as const;

interface BurnRow extends BurnState {
  readonly key: string;
  readonly group: SloGroup;
}

function Charts({ slo }: { readonly slo: SloDoc }) {
  const [range, setRange] = useParameter("range", "21600");
  const [pair, setPair] = useParameter("burn", BURNS[0]!.name);
  const rows = slo.groups.flatMap((group) => burnStates(slo, group).map((state) => ({ ...state, group, key: `${tagText(group.tags)} ${state.burn.name}` })));
  const by = slo.groupBy.length ? ` GROUP BY ${slo.groupBy.join(", ")}` : "";
  const burn = BURNS.find(({ name }) => name === pair) ?? BURNS[0]!;
  const budget = useMemo(() => [`100 * last(${slo.name}.budget)${by}`], [slo.name, by]);
  const rates = useMemo(() => [burn.longSeconds, burn.shortSeconds].map((seconds) => `burn_rate(${slo.name}, ${duration(seconds)})${by}`), [slo.name, by, burn]);
  const limits = useMemo(() => [{ value: burn.factor, name: "limit", tone: "bad" as const }], [burn]);
  const seconds = Number(range) > 0 ? Number(range) : 21_600;
  return (
    <div className="stack">
      <Table caption={`Burn rates of ${slo.name}`} isCaptionUnseen={false} columns={COLUMNS} rows={rows} rowKey={(row) => row.key} empty={<Empty title="Nothing was counted yet." />} rowClass={(row) => (row.state === "fires" ? "is-bad" : "")} />
      <Choice label="How far back" value={String(seconds)} choices={RANGES} onValue={(next) => setRange(next)} />
      <Choice label="Burn rate over" value={burn.name} choices={PAIRS} onValue={(next) => setPair(next)} />
      <div className="columns">
        <MetricChart exprs={budget} title="Error budget left, in percent" unit="%" range={seconds} every={30} thresholds={SPENT} />
        <MetricChart exprs={rates} title={`Burn rate over ${windowsOf(burn)}: times too fast, limit ${burn.factor}`} range={seconds} every={30} thresholds={limits} />
      </div>
    </div>
  );
}

const windowsOf = (burn: Burn): string => `${span(burn.longSeconds)} and ${span(burn.shortSeconds)}`;
const duration = (seconds: number): string => (seconds % 3600 ? `${seconds / 60}m` : `${seconds / 3600}h`);
const PAIRS = BURNS.map((burn) => [burn.name, windowsOf(burn)] as const);
const SPENT = [{ value: 0, name: "spent", tone: "bad" as const }];
const WORDS: Readonly<Record<string, readonly [SloTone | "off", string]>> = { fires: ["bad", "Fires"], half: ["warn", "One window is over it"], ok: ["good", "Below"], "no data": ["waiting", "No data"], never: ["off", "Cannot happen"] };

const COLUMNS: readonly Column<BurnRow>[] = [
  { key: "state", title: "State", value: (row) => row.state, cell: (row) => { const [light, word] = WORDS[row.state] ?? ["off", row.state]; return <Light state={light} word={word} />; } },
  { key: "group", title: "Of", value: (row) => tagText(row.group.tags), cell: (row) => (Object.keys(row.group.tags).length ? <Tags tags={row.group.tags} /> : "all") },
  { key: "windows", title: "Windows", isHead: true, value: (row) => row.burn.longSeconds, cell: (row) => windowsOf(row.burn) },
  { key: "long", title: "Long", align: "end", value: (row) => row.long, cell: (row) => times(row.long) },
  { key: "short", title: "Short", align: "end", value: (row) => row.short, cell: (row) => times(row.short) },
  { key: "limit", title: "Limit", align: "end", value: (row) => row.burn.factor, cell: (row) => times(row.burn.factor) },
  { key: "makes", title: "Makes", value: (row) => (row.burn.isPage ? "a page" : "a ticket") },
];

const times = (rate: number | null): string => (rate === null ? "–" : `${number(rate)} ×`);
