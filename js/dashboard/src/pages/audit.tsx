/** The audit log: who did what, when and from where; and whether the chain of its records is whole, checked in this browser. */

import { useMemo } from "react";
import { Button, SelectField, TextField } from "../kit/form";
import { plural } from "../kit/format";
import { Light, Time } from "../kit/marks";
import { Empty } from "../kit/notes";
import { Page, Section, Toolbar } from "../kit/page";
import { Table, type Column } from "../kit/table";
import { change, useParameter, useRoute } from "../router";
import { hasWords } from "./parts/alertfilter";
import { Chain } from "./parts/chainview";
import { readAudit, type AuditRecord } from "./parts/engine";
import { Part } from "./parts/part";
import { Told } from "./parts/told";
import { useNews, useRead } from "./parts/use";
import { detailWords, isQuiet, whatWords } from "./parts/auditwords";
import "./parts/pages.css";

const STEPS = [200, 1_000, 5_000, 10_000] as const;

export default function Audit() {
  const [limit, setLimit] = useParameter("limit", String(STEPS[0]));
  const path = `/v1/audit?limit=${STEPS.includes(Number(limit) as (typeof STEPS)[number]) ? limit : STEPS[0]}`;
  const answer = useRead(path, readAudit, 15);
  useNews(["alert", "action"], ["/v1/audit"]);
  return (
    <Page title="Audit" lead="Who did what, when, from where, and what came of it. Each record holds the hash of the one before, so a change of the past shows.">
      <Chain />
      <Part answer={answer} what="The audit log">{(records) => <Records records={records} limit={Number(limit)} more={(next) => setLimit(String(next))} />}</Part>
    </Page>
  );
}

interface RecordsProps {
  readonly records: readonly AuditRecord[];
  readonly limit: number;
  readonly more: (limit: number) => void;
}

function Records({ records, limit, more }: RecordsProps) {
  const { q = "", what = "", by = "" } = useRoute().parameters;
  const kinds = useMemo(() => [...new Set(records.map((one) => one.what))].sort(), [records]);
  const found = records.filter((one) => (!what || one.what === what) && (!by || isQuiet(one) === (by === "engine")) && hasWords([one.who, one.what, whatWords(one.what), one.subject, one.outcome, one.source, detailWords(one.detail)], q));
  const next = STEPS.find((step) => step > limit);
  if (!records.length) return <Empty title="Nothing was written down yet."><p>Silences, acknowledgements, rules, actions, log-ins, start and stop are recorded here. Without a data directory nothing is kept.</p></Empty>;
  return (
    <Section title="Records" note={`${plural(found.length, "record")}${found.length < records.length ? ` of ${records.length}` : ""}, the newest ${records.length} of the log.`}>
      <Toolbar label="Filter the audit log">
        <TextField label="Find by person, subject or detail" isLabelUnseen type="search" placeholder="Find" value={q} onValue={(text) => change({ q: text })} />
        <SelectField label="What was done" isLabelUnseen value={what} onValue={(value) => change({ what: value })} choices={[["", "Everything"], ...kinds.map((kind) => [kind, whatWords(kind)] as const)]} />
        <SelectField label="By whom" isLabelUnseen value={by} onValue={(value) => change({ by: value })} choices={[["", "By everybody"], ["people", "By people"], ["engine", "By the engine"]]} />
      </Toolbar>
      <Table caption="The audit log" columns={COLUMNS} rows={found} rowKey={(one) => String(one.number)} sort="-number" sortParameter="sort" empty={<Empty title="No record matches." />} />
      {next && records.length >= limit && <p><Button size="small" onClick={() => more(next)}>{`Read the newest ${next.toLocaleString("en-US")}`}</Button></p>}
    </Section>
  );
}

const COLUMNS: readonly Column<AuditRecord>[] = [
  { key: "number", title: "No.", align: "end", value: (one) => one.number, cell: (one) => one.number },
  { key: "time", title: "When", value: (one) => one.time, cell: (one) => <Time at={one.time} look="full" /> },
  { key: "who", title: "Who", value: (one) => one.who, cell: (one) => <Told most={60}>{one.who || "–"}</Told> },
  { key: "what", title: "What", isHead: true, value: (one) => one.what, cell: (one) => whatWords(one.what) },
  { key: "subject", title: "To what", value: (one) => one.subject, cell: (one) => <Told most={120}>{one.subject || "–"}</Told> },
  { key: "outcome", title: "Outcome", value: (one) => one.outcome, cell: (one) => (one.outcome === "ok" ? <Light state="good" word="ok" /> : <Told most={120}>{one.outcome || "–"}</Told>) },
  { key: "source", title: "From", value: (one) => one.source, cell: (one) => <Told>{one.source || "–"}</Told> },
  { key: "detail", title: "Detail", isFixed: true, value: () => null, cell: (one) => <span className="reject-text"><Told most={200}>{detailWords(one.detail) || "–"}</Told></span> },
];
