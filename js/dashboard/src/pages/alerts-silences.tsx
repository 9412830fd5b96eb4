/** Silences: those that last, those planned, those that ended lately; end one, or make one of any alerts. */

import { useMemo, useState } from "react";
import { useNow } from "../kit/clock";
import { Button, Choice } from "../kit/form";
import { Light, Time, type LightState } from "../kit/marks";
import { Empty } from "../kit/notes";
import { Section } from "../kit/page";
import { useMay } from "../kit/session";
import { Table, type Column } from "../kit/table";
import { useParameter } from "../router";
import type { AlertData } from "./parts/alertdata";
import { EndSilence, NewSilence } from "./parts/alertdialogs";
import type { AlertDoc, SilenceDoc } from "./parts/documents";
import { Part } from "./parts/part";
import { SILENCE_STATES, silenceTimes } from "./parts/silencing";
import { Told } from "./parts/told";

const LIGHTS: Readonly<Record<string, LightState>> = { active: "warn", pending: "waiting", ended: "off" };
const CHOICES = [["", "Last or are planned"], ["active", "Active"], ["pending", "Planned"], ["ended", "Ended"]] as const;

export function SilenceList({ data }: { readonly data: AlertData }) {
  const [isMaking, setMaking] = useState(false);
  const maySilence = useMay("silence");
  const close = (): void => setMaking(false);
  return (
    <div tabIndex={-1}>
      <Section title="Silences" note="While one lasts nobody is told of the alerts it matches. They still show, and what fires at its end is told then." actions={maySilence && <Button onClick={() => setMaking(true)}>Silence alerts</Button>}>
        <Part answer={data.silences} what="The silences">{(silences) => <Silences silences={silences} alerts={data.answer.data?.alerts ?? []} />}</Part>
      </Section>
      {isMaking && <NewSilence onClose={close} />}
    </div>
  );
}

function Silences({ silences, alerts }: { readonly silences: readonly SilenceDoc[]; readonly alerts: readonly AlertDoc[] }) {
  const [state, setState] = useParameter("state");
  const [ending, setEnding] = useState<SilenceDoc | null>(null);
  const maySilence = useMay("silence");
  const now = useNow(10);
  const found = silences.filter((one) => (state ? one.state === state : one.state !== "ended"));
  const columns = useMemo(() => columnsOf(alerts, now, maySilence ? setEnding : null), [alerts, now, maySilence]);
  const close = (): void => setEnding(null);
  return (
    <div className="stack" tabIndex={-1}>
      <Choice label="Which silences" value={state} choices={CHOICES} onValue={setState} />
      <Table caption="Silences and what they match" columns={columns} rows={found} rowKey={(one) => one.id} sort="ends" sortParameter="sort" empty={<NoSilence hasEnded={silences.some((one) => one.state === "ended")} state={state} />} rowClass={(one) => (one.state === "ended" ? "is-quiet" : "")} />
      {ending && <EndSilence silence={ending} onClose={close} />}
    </div>
  );
}

function NoSilence({ hasEnded, state }: { readonly hasEnded: boolean; readonly state: string }) {
  if (state) return <Empty title="No silence is in this state." />;
  return <Empty title="Nothing is silenced."><p>Every alert is told. A silence mutes matching alerts for a time, for work that is planned{hasEnded ? "; those that ended lately are under Ended" : ""}.</p></Empty>;
}

function columnsOf(alerts: readonly AlertDoc[], now: number, end: ((one: SilenceDoc) => void) | null): readonly Column<SilenceDoc>[] {
  const mutes = (one: SilenceDoc): number => alerts.filter((alert) => alert.silencedBy === one.id).length;
  return [
    { key: "state", title: "State", value: (one) => one.state, cell: (one) => <Light state={LIGHTS[one.state] ?? "waiting"} word={SILENCE_STATES[one.state] ?? one.state} /> },
    { key: "match", title: "Alerts that match", isHead: true, value: (one) => one.match, cell: (one) => <Told isCode most={200}>{one.match}</Told> },
    { key: "ends", title: "How long", value: (one) => one.ends, cell: (one) => silenceTimes(one, now) },
    { key: "mutes", title: "Mutes now", align: "end", value: mutes },
    { key: "who", title: "By", value: (one) => one.who, cell: (one) => <Told most={60}>{one.who}</Told> },
    { key: "comment", title: "Why", value: (one) => one.comment, cell: (one) => <Told most={160}>{one.comment || "–"}</Told> },
    { key: "created", title: "Made", value: (one) => one.created, cell: (one) => <Time at={one.created} /> },
    ...(end ? [{ key: "end", title: "Action", isFixed: true, value: () => null, cell: (one: SilenceDoc) => (one.state === "ended" ? null : <Button size="small" aria-label={`End the silence of ${one.match}`} onClick={() => end(one)}>End</Button>) }] : []),
  ];
}
