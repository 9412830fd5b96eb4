/** Deliveries: who was told what and when, who was not and why, and what could not be delivered. */

import { useMemo } from "react";
import { SelectField, TextField } from "../kit/form";
import { plural, tagText } from "../kit/format";
import { Light, Time, type LightState } from "../kit/marks";
import { Empty } from "../kit/notes";
import { Page, Section, Toolbar } from "../kit/page";
import { Table, type Column } from "../kit/table";
import { change, useRoute } from "../router";
import { DeadLetters } from "./deliveries-dead";
import { alertLink } from "./parts/alertdata";
import { hasWords } from "./parts/alertfilter";
import { decisionTone, decisionWords, notificationSubject, outcomeLook, receiverName, receiversOf, receiverWords, type ReceiverSum } from "./parts/decisionwords";
import type { Decision } from "./parts/documents";
import { decisionOf, notificationOf, readDeadLetters, readEvents, type Happening, type NotificationDoc } from "./parts/happenings";
import { Part } from "./parts/part";
import { Views } from "./parts/tabs";
import { Said, Tags, Told } from "./parts/told";
import { useNews, useRead } from "./parts/use";
import "./parts/pages.css";

/** How far back attempts and decisions are read. */
export const EVENTS_READ = 500;
const EVERY_SECONDS = 10;
const ATTEMPTS_PATH = `/v1/events?kind=notification&limit=${EVENTS_READ}`;
const DECISIONS_PATH = `/v1/events?kind=decision&limit=${EVENTS_READ}`;
const DEAD_PATH = "/v1/dead-letters";

export default function Deliveries() {
  const { tab = "" } = useRoute().parameters;
  const attempts = useRead(ATTEMPTS_PATH, readEvents, EVERY_SECONDS);
  const dead = useRead(DEAD_PATH, readDeadLetters, EVERY_SECONDS);
  useNews(["alert"], ["/v1/events?kind=notification", "/v1/events?kind=decision", DEAD_PATH]);
  const views = [
    { key: "", title: "Attempts" },
    { key: "decisions", title: "Decisions" },
    { key: "dead", title: "Dead letters", many: dead.data?.length ?? null },
  ];
  return (
    <Page title="Deliveries" lead="Who was told what and when, who was not told and why, and what could not be delivered.">
      <Part answer={attempts} what="The receivers">{(events) => <Receivers events={events} />}</Part>
      <Views page="deliveries" label="Views of deliveries" views={views} at={tab} />
      {tab === "decisions" && <Decisions />}
      {tab === "dead" && <Part answer={dead} what="The dead letters">{(letters) => <DeadLetters letters={letters} />}</Part>}
      {tab === "" && <Part answer={attempts} what="The attempts">{(events) => <Attempts events={events} />}</Part>}
    </Page>
  );
}

const useOldestLast = <T,>(events: readonly Happening[], read: (event: Happening) => T): readonly T[] => useMemo(() => [...events].reverse().map(read), [events, read]);

// ---- receivers

function Receivers({ events }: { readonly events: readonly Happening[] }) {
  const found = receiversOf(useOldestLast(events, notificationOf));
  if (!found.length) return null;
  return (
    <Section title="Receivers" note={`Of the newest ${plural(events.length, "attempt")}.`}>
      <ul className="standings is-column">
        {found.map((one) => (
          <li key={one.receiver}>
            <Said tone={toneOf(one)}><strong><Told>{receiverName(one.receiver)}</Told></strong>: <Told>{receiverWords(one)}</Told> <span className="quiet-text"><Time at={one.last.time} /></span></Said>
          </li>
        ))}
      </ul>
    </Section>
  );
}

const toneOf = (one: ReceiverSum) => (one.last.outcome === "delivered" ? (one.dead ? "warn" : "good") : "bad");

// ---- attempts

const OUTCOMES = [["", "Every outcome"], ["delivered", "Delivered"], ["retry", "Failed, tried again"], ["dead", "Given up"]] as const;

function Attempts({ events }: { readonly events: readonly Happening[] }) {
  const { q = "", outcome = "" } = useRoute().parameters;
  const all = useOldestLast(events, notificationOf);
  const found = all.filter((one) => (!outcome || one.outcome === outcome) && hasWords([one.name, one.receiver, one.detail, tagText(one.tags)], q));
  if (!all.length)
    return <Empty title="Nothing was sent yet."><p>A notification appears here with its outcome as soon as an alert fires: to the receivers of its rule and routes, or to the log where there are none.</p></Empty>;
  return (
    <Section title="Attempts" note={`${plural(found.length, "attempt")}${found.length < all.length ? ` of ${all.length}` : ""}, the newest ${EVENTS_READ} at most. One that fails is tried again for 24 hours.`}>
      <Filters q={q} what="Find by alert, receiver or answer"><SelectField label="Outcome" isLabelUnseen value={outcome} onValue={(next) => change({ outcome: next })} choices={OUTCOMES} /></Filters>
      <Table caption="Attempts to deliver" columns={ATTEMPTS} rows={found} rowKey={keyOf} sort="-time" sortParameter="sort" limit={50} empty={<Empty title="No attempt matches." />} rowClass={(one) => (outcomeLook(one.outcome).tone === "bad" ? "is-bad" : "")} />
    </Section>
  );
}

function Filters({ q, what, children }: { readonly q: string; readonly what: string; readonly children?: React.ReactNode }) {
  return <Toolbar label="Filter"><TextField label={what} isLabelUnseen type="search" placeholder="Find" value={q} onValue={(text) => change({ q: text })} />{children}</Toolbar>;
}

const keyOf = (one: NotificationDoc): string => `${one.time} ${one.receiver} ${one.name} ${one.episode} ${tagText(one.tags)}`;
const TONES: Readonly<Record<string, LightState>> = { good: "good", warn: "warn", bad: "bad", plain: "off" };

const ATTEMPTS: readonly Column<NotificationDoc>[] = [
  { key: "time", title: "When", value: (one) => one.time, cell: (one) => <><Time at={one.time} look="clock" /> <span className="quiet-text"><Time at={one.time} /></span></> },
  { key: "outcome", title: "Outcome", value: (one) => one.outcome, cell: (one) => <Light state={TONES[outcomeLook(one.outcome).tone] ?? "off"} word={outcomeLook(one.outcome).word} /> },
  { key: "receiver", title: "To", value: (one) => one.receiver, cell: (one) => <Told>{receiverName(one.receiver)}</Told> },
  { key: "name", title: "About", isHead: true, value: (one) => one.name, cell: (one) => <><a href={alertLink(one.name)}><Told>{notificationSubject(one)}</Told></a> <Tags tags={one.tags} /></> },
  { key: "why", title: "Because", value: (one) => one.why, cell: (one) => <Told>{one.why || "–"}</Told> },
  { key: "detail", title: "Answer", value: (one) => one.detail, cell: (one) => <Told most={160}>{one.detail || "–"}</Told> },
];

// ---- decisions

const KINDS = [["", "Every decision"], ["told", "Told"], ["not told", "Not told"], ["held", "Held back"], ["escalation", "Escalation"], ["acknowledged", "Acknowledged"], ["silence", "Silenced"], ["released", "Released"]] as const;

function Decisions() {
  const answer = useRead(DECISIONS_PATH, readEvents, EVERY_SECONDS);
  return <Part answer={answer} what="The decisions">{(events) => <DecisionTable events={events} />}</Part>;
}

function DecisionTable({ events }: { readonly events: readonly Happening[] }) {
  const { q = "", kind = "" } = useRoute().parameters;
  const all = useOldestLast(events, decisionOf);
  const found = all.filter((one) => (!kind || one.decision === kind) && hasWords([one.name, one.receiver, one.reason, tagText(one.tags)], q));
  if (!all.length) return <Empty title="Nothing was decided yet."><p>Each time an alert fires, ends or is repeated, the engine writes down whom it told, whom it did not, and why.</p></Empty>;
  return (
    <Section title="Decisions" note={`${plural(found.length, "decision")}${found.length < all.length ? ` of ${all.length}` : ""}, the newest ${EVENTS_READ} at most.`}>
      <Filters q={q} what="Find by alert, receiver or reason"><SelectField label="Decision" isLabelUnseen value={kind} onValue={(next) => change({ kind: next })} choices={KINDS} /></Filters>
      <Table caption="Decisions about whom to tell" columns={DECISIONS} rows={found} rowKey={(one) => `${one.time} ${one.name} ${one.receiver} ${one.decision} ${one.reason} ${one.episode} ${tagText(one.tags)}`} sort="-time" sortParameter="sort" limit={50} empty={<Empty title="No decision matches." />} />
    </Section>
  );
}

const DECISIONS: readonly Column<Decision>[] = [
  { key: "time", title: "When", value: (one) => one.time, cell: (one) => <><Time at={one.time} look="clock" /> <span className="quiet-text"><Time at={one.time} /></span></> },
  { key: "name", title: "Alert", isHead: true, value: (one) => one.name, cell: (one) => <><a href={alertLink(one.name)}><Told>{one.name}</Told></a> {one.tags && <Tags tags={one.tags} />}</> },
  { key: "words", title: "Decision", value: (one) => one.decision, cell: (one) => <Said tone={decisionTone(one)}><Told>{decisionWords(one)}</Told></Said> },
];
