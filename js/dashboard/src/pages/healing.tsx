/** Healing: the jobs that alerts have started, what came of each and whether it helped; the rules; the stop switch. */

import { useMemo, useState } from "react";
import { useNow } from "../kit/clock";
import { Button, SelectField, TextField } from "../kit/form";
import { plural, span, tagText } from "../kit/format";
import { Badge, Light, Time, type LightState } from "../kit/marks";
import { Empty } from "../kit/notes";
import { Page, Section, Toolbar } from "../kit/page";
import { useMay } from "../kit/session";
import { Table, type Column } from "../kit/table";
import { change, useRoute } from "../router";
import { Switch } from "./healing-switch";
import { alertLink } from "./parts/alertdata";
import { hasWords } from "./parts/alertfilter";
import { readActions, readEvents, runStepOf, type ActionRuleDoc, type ActionsDoc, type RunDoc, type RunStep } from "./parts/happenings";
import { Part } from "./parts/part";
import { actionName, durationOf, mayRunWords, printed, refusedWords, ruleWords, runLook, runWords, stoppedWords, verifiedWords } from "./parts/runwords";
import { Views } from "./parts/tabs";
import { Said, Tags, Told } from "./parts/told";
import { useNews, useRead } from "./parts/use";
import "./parts/pages.css";

const RUNS_PATH = "/v1/actions?limit=500";
const STEPS_PATH = "/v1/events?kind=action&limit=1000";
const EVERY_SECONDS = 10;

export default function Healing() {
  const { tab = "" } = useRoute().parameters;
  const answer = useRead(RUNS_PATH, readActions, EVERY_SECONDS);
  useNews(["action", "alert"], [RUNS_PATH, STEPS_PATH]);
  const views = [
    { key: "", title: "Runs", many: answer.data?.runs.length ?? null },
    { key: "refused", title: "Not run" },
    { key: "rules", title: "Actions", many: answer.data?.actions.length ?? null },
  ];
  return (
    <Page title="Healing" lead="Actions that alerts have started: what was run, what came of it, and whether it helped.">
      <Part answer={answer} what="The actions">
        {(doc) => (
          <>
            <Stop doc={doc} />
            <Views page="healing" label="Views of healing" views={views} at={tab} />
            {tab === "rules" ? <Rules rules={doc.actions} /> : tab === "refused" ? <Refused /> : <Runs doc={doc} />}
          </>
        )}
      </Part>
    </Page>
  );
}

// ---- the stop switch

function Stop({ doc }: { readonly doc: ActionsDoc }) {
  const mayStop = useMay("admin");
  const [isAsking, setAsking] = useState(false);
  const close = (): void => setAsking(false);
  const isStopped = doc.stoppedBy !== "";
  return (
    <div tabIndex={-1} className={isStopped ? "stop-strip" : "finding"}>
      {isStopped
        ? <Said tone="bad"><strong>Stopped.</strong> <Told>{stoppedWords(doc.stoppedBy, null)}</Told></Said>
        : <Said tone={doc.actions.length ? "good" : "plain"}>{doc.actions.length ? mayRunWords(doc.actions.length) : "No action is written, so nothing heals itself."}</Said>}
      {mayStop && (isStopped || doc.actions.length > 0) && <Button look={isStopped ? "primary" : "danger"} onClick={() => setAsking(true)}>{isStopped ? "Resume actions" : "Stop all actions"}</Button>}
      {isAsking && <Switch isStopped={isStopped} onClose={close} />}
    </div>
  );
}

// ---- runs

const NO_STEPS: readonly RunStep[] = [];
const STATES = [["", "Every outcome"], ["Helped", "Helped"], ["Ran", "Ran, not verified"], ["Did not help", "Did not help"], ["Failed", "Failed"], ["Dry run", "Dry run"], ["Unknown", "Unknown"]] as const;

function Runs({ doc }: { readonly doc: ActionsDoc }) {
  const { q = "", state = "" } = useRoute().parameters;
  const events = useRead(STEPS_PATH, readEvents, EVERY_SECONDS);
  const steps = useMemo(() => events.data?.map(runStepOf) ?? NO_STEPS, [events.data]);
  const now = useNow(5);
  const columns = useMemo(() => columnsOf(steps, now), [steps, now]);
  const found = doc.runs.filter((run) => (!state || runLook(run).word === state) && hasWords([run.action, run.alert, run.outcome, tagText(run.tags)], q));
  if (!doc.runs.length)
    return <Empty title="Nothing had to be healed yet."><p>When an alert with an action fires, the run stands here: its intent before, its outcome after, and whether the alert cleared.</p></Empty>;
  return (
    <Section title="Runs" note={`${plural(found.length, "run")}${found.length < doc.runs.length ? ` of ${doc.runs.length}` : ""}. A run happens at most once for an episode and is never repeated.`}>
      <Filters q={q}><SelectField label="Outcome" isLabelUnseen value={state} onValue={(next) => change({ state: next })} choices={STATES} /></Filters>
      <Table caption="Runs of actions" columns={columns} rows={found} rowKey={(run) => run.key} sort="-time" sortParameter="sort" empty={<Empty title="No run matches." />} rowClass={(run) => (runLook(run).tone === "bad" ? "is-bad" : "")} />
    </Section>
  );
}

function Filters({ q, children }: { readonly q: string; readonly children?: React.ReactNode }) {
  return <Toolbar label="Filter"><TextField label="Find by action, alert or outcome" isLabelUnseen type="search" placeholder="Find" value={q} onValue={(text) => change({ q: text })} />{children}</Toolbar>;
}

const LIGHTS: Readonly<Record<string, LightState>> = { good: "good", bad: "bad", warn: "warn", waiting: "waiting", plain: "off" };

const columnsOf = (steps: readonly RunStep[], now: number): readonly Column<RunDoc>[] => [
  { key: "time", title: "Intent", value: (run) => run.time, cell: (run) => <><Time at={run.time} look="clock" /> <span className="quiet-text"><Time at={run.time} /></span></> },
  { key: "state", title: "Outcome", value: (run) => runLook(run).word, cell: (run) => <Light state={LIGHTS[runLook(run).tone] ?? "off"} word={runLook(run).word} /> },
  { key: "action", title: "Action", isHead: true, value: (run) => run.action, cell: (run) => <Told>{actionName(run.action)}</Told> },
  { key: "alert", title: "Started by", value: (run) => run.alert, cell: (run) => <><a href={alertLink(run.alert, run.tags)}><Told>{run.alert}</Told></a> <Tags tags={run.tags} /></> },
  { key: "outcome", title: "What came of it", value: (run) => run.outcome, cell: (run) => <Outcome run={run} /> },
  { key: "verified", title: "Did it help?", value: (run) => run.verified, cell: (run) => verifiedWords(run, now) },
  { key: "took", title: "Took", align: "end", value: (run) => durationOf(run, steps), cell: (run) => <Took seconds={durationOf(run, steps)} /> },
];

function Outcome({ run }: { readonly run: RunDoc }) {
  return <span className="run-detail"><Told most={200}>{runWords(run)}</Told>{printed(run) && <span className="quiet-text">It printed: <Told isCode most={120}>{printed(run)}</Told></span>}</span>;
}

const Took = ({ seconds }: { readonly seconds: number | null }) => <>{seconds === null ? "–" : seconds < 1 ? `${Math.max(1, Math.round(seconds * 1000))} ms` : span(seconds)}</>;

// ---- what was not run

function Refused() {
  const answer = useRead(STEPS_PATH, readEvents, EVERY_SECONDS);
  return <Part answer={answer} what="The journal">{(events) => <RefusedTable steps={events.map(runStepOf).filter((step) => step.event === "refused")} />}</Part>;
}

function RefusedTable({ steps }: { readonly steps: readonly RunStep[] }) {
  const { q = "" } = useRoute().parameters;
  const found = steps.filter((step) => hasWords([step.action, step.alert, step.words], q));
  if (!steps.length) return <Empty title="Every run that was asked for was run."><p>An action is not run while it cools down, beyond its limit for an hour, twice for one episode, or while all are stopped. Then it stands here with the reason.</p></Empty>;
  return (
    <Section title="Not run" note="An alert asked for an action, and the engine held it back.">
      <Filters q={q} />
      <Table caption="Actions that were not run" columns={REFUSED} rows={found} rowKey={(step) => `${step.time} ${step.key}`} sort="-time" sortParameter="sort" empty={<Empty title="Nothing matches." />} />
    </Section>
  );
}

const REFUSED: readonly Column<RunStep>[] = [
  { key: "time", title: "When", value: (step) => step.time, cell: (step) => <><Time at={step.time} look="clock" /> <span className="quiet-text"><Time at={step.time} /></span></> },
  { key: "action", title: "Action", isHead: true, value: (step) => step.action, cell: (step) => <Told>{step.action}</Told> },
  { key: "alert", title: "Asked by", value: (step) => step.alert, cell: (step) => <><a href={alertLink(step.alert, step.tags)}><Told>{step.alert}</Told></a> <Tags tags={step.tags} /></> },
  { key: "words", title: "Why not", value: (step) => step.words, cell: (step) => <Told>{refusedWords(step)}</Told> },
];

// ---- the rules of actions

function Rules({ rules }: { readonly rules: readonly ActionRuleDoc[] }) {
  if (!rules.length) return <Empty title="No action is written yet."><p>Actions stand in rule files, under actions: which alert starts them, what they run, how often at most, and how it is verified. docs/alerts.md has an example.</p></Empty>;
  return (
    <Section title="Actions" note="Written in rule files; they are not changed here.">
      <Table caption="Rules of actions" columns={RULES} rows={rules} rowKey={(rule) => `${rule.action} ${rule.source}`} sort="action" sortParameter="sort" />
    </Section>
  );
}

const RULES: readonly Column<ActionRuleDoc>[] = [
  { key: "action", title: "Action", isHead: true, value: (rule) => rule.action, cell: (rule) => <><Told>{actionName(rule.action)}</Told>{rule.isDry && <> <Badge tone="info">dry run</Badge></>}</> },
  { key: "words", title: "What it does", isFixed: true, value: () => null, cell: (rule) => <Told>{ruleWords(rule)}</Told> },
  { key: "source", title: "Written in", value: (rule) => rule.source, cell: (rule) => <Told>{rule.source}</Told> },
];
