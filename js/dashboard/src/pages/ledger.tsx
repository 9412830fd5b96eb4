/** The ledger: every datagram and value accounted for, in sums that close; what was turned away and why; other losses. */

import { useMemo, useRef } from "react";
import { Button, TextField } from "../kit/form";
import { count, number, plural } from "../kit/format";
import { Light, Time } from "../kit/marks";
import { Empty } from "../kit/notes";
import { Page, Section, Toolbar } from "../kit/page";
import { Table, type Column } from "../kit/table";
import { change, useParameter, useRoute } from "../router";
import { hasWords } from "./parts/alertfilter";
import { readLedger, readRejects, type Books, type LedgerDoc, type Reject } from "./parts/engine";
import { identities, inputWords, lossWords, rateOf, reasonRows, reasonWords, sum, withReading, type Identity, type Reading, type ReasonRow } from "./parts/ledgersum";
import type { Loss } from "./parts/losses";
import { useLosses } from "./parts/metricstext";
import { Part } from "./parts/part";
import { Said, Told } from "./parts/told";
import { useRead, type Readable } from "./parts/use";
import "./parts/pages.css";

const EVERY_SECONDS = 2;

export default function Ledger() {
  const answer = useRead("/v1/ledger", readLedger, EVERY_SECONDS);
  const readings = useReadings(answer);
  return (
    <Page title="Ledger" lead="Every datagram that reached this machine and every value in it is accounted for. What was lost is said here.">
      <Part answer={answer} what="The ledger">
        {(doc) => (
          <>
            <Sums books={doc.all} readings={readings} />
            <TurnedAway books={doc.all} />
            <Inputs doc={doc} />
          </>
        )}
      </Part>
      <Rejects />
      <Losses />
    </Page>
  );
}

/** The last seconds' readings, for rates. */
function useReadings({ data, readAt }: Readable<LedgerDoc>): readonly Reading[] {
  const kept = useRef<readonly Reading[]>([]);
  if (data) kept.current = withReading(kept.current, { at: readAt / 1000, books: data.all });
  return kept.current;
}

// ---- the sums

function Sums({ books, readings }: { readonly books: Books; readonly readings: readonly Reading[] }) {
  const sums = identities(books);
  const isClosed = sums.every((one) => one.difference === 0);
  const isLossless = !books.kernelDrops && !sum(books.rejected) && !sum(books.bad);
  return (
    <Section title="Since the engine started" note={rateWords(readings)}>
      <div className="stack">
        <div className="finding">
          <Light state={isClosed ? "good" : "bad"} word={isClosed ? "The sums close" : "The sums do not close"} />
          <Said tone={books.kernelDrops ? "bad" : isLossless ? "good" : "warn"}><span className="finding-words">{lossWords(books)}</span></Said>
        </div>
        <ul className="sums">{sums.map((one) => <li key={one.name}><Sum sum={one} /></li>)}</ul>
      </div>
    </Section>
  );
}

function rateWords(readings: readonly Reading[]): string {
  const datagrams = rateOf(readings, (books) => books.arrived);
  const samples = rateOf(readings, (books) => books.samples);
  if (datagrams === null || samples === null) return "Rates are shown after two readings.";
  const lost = [["dropped by the kernel", (books: Books) => books.kernelDrops], ["datagrams rejected", (books: Books) => sum(books.rejected)], ["values bad", (books: Books) => sum(books.bad)]] as const;
  const losing = lost.map(([name, value]) => [name, rateOf(readings, value) ?? 0] as const).filter(([, rate]) => rate > 0);
  const also = losing.map(([name, rate]) => `${number(rate)} ${name}`).join(", ");
  return `Now ${number(datagrams)} datagrams and ${number(samples)} samples a second${also ? `; ${also}` : ""}.`;
}

function Sum({ sum: one }: { readonly sum: Identity }) {
  return (
    <>
      <div className="sum-head"><h3>{one.name}</h3><Said tone={one.difference === 0 ? "good" : "bad"}><span className={one.difference === 0 ? "unseen" : undefined}>{one.words}</span>{one.difference === 0 && <span aria-hidden="true">closes</span>}</Said></div>
      <div className="sum" aria-hidden="true">
        <div className="sum-term"><strong>{count(one.total)}</strong><span>{one.what} {one.totalName === one.what ? "" : one.totalName}</span></div>
        {one.terms.map((term, place) => (
          <div className="sum" key={term.name}>
            <span className="sum-sign">{place ? "+" : one.difference === 0 ? "=" : "≠"}</span>
            <div className={`sum-term${term.isLoss && term.value ? " is-loss" : ""}`}><strong>{count(term.value)}</strong><span>{term.name}</span></div>
          </div>
        ))}
      </div>
    </>
  );
}

// ---- reasons

function TurnedAway({ books }: { readonly books: Books }) {
  const rows = reasonRows(books);
  return (
    <Section title="Turned away, by reason" note="A bad line or element never costs its neighbours; a document that cannot be read is rejected whole.">
      <Table caption="What was turned away, by reason" columns={REASONS} rows={rows} rowKey={(row) => row.key} sort="-many" sortParameter="reasons" empty={<Empty title="Nothing was turned away."><p>A datagram that cannot be read, or a value that is no number, would be counted here under its reason.</p></Empty>} />
    </Section>
  );
}

const REASONS: readonly Column<ReasonRow>[] = [
  { key: "reason", title: "Reason", isHead: true, value: (row) => row.reason, cell: (row) => <code><Told>{row.reason}</Told></code> },
  { key: "words", title: "What it means", isFixed: true, value: () => null, cell: (row) => row.words || "–" },
  { key: "what", title: "Counted", value: (row) => row.what, cell: (row) => (row.what === "datagram" ? "datagrams, whole" : "values") },
  { key: "many", title: "How many", align: "end", value: (row) => row.many, cell: (row) => count(row.many) },
];

// ---- inputs

interface InputRow {
  readonly name: string;
  readonly books: Books;
}

function Inputs({ doc }: { readonly doc: LedgerDoc }) {
  const rows = doc.inputs.map(([name, books]) => ({ name, books }));
  return (
    <Section title="By input" note="Each has books of its own; their sum is the ledger above.">
      <Table caption="The ledger by input" columns={INPUTS} rows={rows} rowKey={(row) => row.name} sort="-arrived" sortParameter="inputs" empty={<Empty title="The engine has no input." />} rowClass={(row) => (row.books.kernelDrops ? "is-bad" : "")} />
    </Section>
  );
}

const figureOf = (key: string, title: string, value: (books: Books) => number): Column<InputRow> => ({ key, title, align: "end", value: (row) => value(row.books), cell: (row) => count(value(row.books)) });

const INPUTS: readonly Column<InputRow>[] = [
  { key: "name", title: "Input", isHead: true, value: (row) => row.name, cell: (row) => <><Told>{row.name}</Told>{inputWords(row.name) && <span className="quiet-text">{inputWords(row.name)}</span>}</> },
  figureOf("arrived", "Arrived", (books) => books.arrived),
  figureOf("dropped", "Dropped by the kernel", (books) => books.kernelDrops),
  figureOf("accepted", "Accepted", (books) => books.accepted),
  figureOf("rejected", "Rejected", (books) => sum(books.rejected)),
  figureOf("samples", "Samples", (books) => books.samples),
  figureOf("bad", "Bad values", (books) => sum(books.bad)),
  { key: "closes", title: "Closes", value: (row) => (closes(row.books) ? 1 : 0), cell: (row) => <Light state={closes(row.books) ? "good" : "bad"} word={closes(row.books) ? "yes" : "no"} /> },
];

const closes = (books: Books): boolean => identities(books).every((one) => one.difference === 0);

// ---- the last rejects

function Rejects() {
  const answer = useRead("/v1/rejects", readRejects, 5);
  return (
    <Section title="The last rejects" note="The newest 100 at most, with where they came from and how they begin. Control characters are shown as symbols.">
      <Part answer={answer} what="The rejects">{(rejects) => <RejectTable rejects={rejects} />}</Part>
    </Section>
  );
}

interface RejectRow extends Reject {
  readonly key: string;
}

function RejectTable({ rejects }: { readonly rejects: readonly Reject[] }) {
  const { q = "" } = useRoute().parameters;
  const rows = useMemo(() => rejects.map((one, place) => ({ ...one, key: `${one.time} ${place}` })), [rejects]);
  const found = rows.filter((one) => hasWords([one.reason, reasonWords(one.reason), one.source, one.input, one.text], q));
  if (!rejects.length) return <Empty title="Nothing was rejected."><p>What cannot be read stands here with its source, so that whoever sends it can be found.</p></Empty>;
  return (
    <>
      <Toolbar label="Filter rejects"><TextField label="Find by reason, source or text" isLabelUnseen type="search" placeholder="Find" value={q} onValue={(text) => change({ q: text })} /></Toolbar>
      <Table caption="Rejects with source and text" columns={REJECTS} rows={found} rowKey={(row) => row.key} sort="-time" sortParameter="rejects" limit={25} empty={<Empty title="No reject matches." />} />
    </>
  );
}

const REJECTS: readonly Column<RejectRow>[] = [
  { key: "time", title: "When", value: (row) => row.time, cell: (row) => <><Time at={row.time} look="clock" /> <span className="quiet-text"><Time at={row.time} /></span></> },
  { key: "reason", title: "Reason", isHead: true, value: (row) => row.reason, cell: (row) => <><code><Told>{row.reason}</Told></code> <span className="quiet-text">{reasonWords(row.reason)}</span></> },
  { key: "source", title: "From", value: (row) => row.source, cell: (row) => <Told>{row.source || "–"}</Told> },
  { key: "input", title: "Input", value: (row) => row.input, isExtra: true, cell: (row) => <Told>{row.input}</Told> },
  { key: "text", title: "How it begins", value: (row) => row.text, cell: (row) => <span className="reject-text"><Told isCode most={120}>{row.text}</Told></span> },
];

// ---- other losses

function Losses() {
  const answer = useLosses();
  return (
    <Section title="Other losses" note="Bounds of the engine that turned something away, from its own counters (/metrics).">
      <Part answer={answer} what="The counters">{(losses) => <LossTable losses={losses} />}</Part>
    </Section>
  );
}

function LossTable({ losses }: { readonly losses: readonly Loss[] }) {
  const [all, setAll] = useParameter("losses");
  const lost = losses.filter((one) => one.many > 0);
  const shown = all ? losses : lost;
  return (
    <div className="stack">
      {!lost.length && <p><Said tone="good">{`Nothing was lost at any of ${plural(losses.length, "place")} that could lose something.`}</Said></p>}
      {shown.length > 0 && <Table caption="Counters of other losses" columns={LOSSES} rows={shown} rowKey={(one) => one.key} rowClass={(one) => (one.many ? "is-bad" : "is-quiet")} />}
      <p><Button size="small" aria-expanded={all !== ""} onClick={() => setAll(all ? "" : "all")}>{all ? "Only what was lost" : `Show all ${losses.length}`}</Button></p>
    </div>
  );
}

const LOSSES: readonly Column<Loss>[] = [
  { key: "what", title: "What", isHead: true, value: (one) => one.what },
  { key: "means", title: "What it means", isFixed: true, value: () => null, cell: (one) => one.means || <code><Told>{one.key}</Told></code> },
  { key: "many", title: "How many", align: "end", value: (one) => one.many, cell: (one) => count(one.many) },
];
