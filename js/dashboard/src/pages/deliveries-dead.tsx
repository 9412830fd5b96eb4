/** Notifications that were given up, each with the reason, and how to send one again. */

import { useMemo, useState } from "react";
import { toast } from "../kit/announce";
import { reload } from "../kit/document";
import { Button } from "../kit/form";
import { Time } from "../kit/marks";
import { Empty, ErrorNote } from "../kit/notes";
import { Section } from "../kit/page";
import { ask } from "../kit/request";
import { useMay } from "../kit/session";
import { Table, type Column } from "../kit/table";
import { attemptsWords, receiverName } from "./parts/decisionwords";
import type { DeadLetter } from "./parts/happenings";
import { Tags, Told } from "./parts/told";
import { useWho } from "./parts/who";

export function DeadLetters({ letters }: { readonly letters: readonly DeadLetter[] }) {
  const mayResend = useMay("admin");
  const [who] = useWho();
  const [sending, setSending] = useState("");
  const [error, setError] = useState<unknown>(null);
  const resend = async (letter: DeadLetter): Promise<void> => {
    setSending(letter.id);
    setError(null);
    try {
      await ask(`/v1/dead-letters/${encodeURIComponent(letter.id)}/resend`, { method: "POST", body: who ? { who } : {} });
      toast(`On its way again to ${receiverName(letter.receiver)}. What becomes of it stands under Attempts.`, "good");
      reload("/v1/dead-letters");
      reload("/v1/events?kind=notification");
    } catch (reason) {
      setError(reason);
    }
    setSending("");
  };
  const columns = useMemo(() => columnsOf(mayResend ? resend : null, sending), [mayResend, sending, who]);
  if (!letters.length)
    return <Empty title="Nothing was given up."><p>A notification becomes a dead letter when its receiver refuses it, or does not take it for 24 hours. The newest 1,000 are kept here, to be sent again.</p></Empty>;
  return (
    <Section title="Dead letters" note="They will not arrive by themselves. See why, mend the receiver, then send them again.">
      {error !== null && <ErrorNote title="It could not be sent again" error={error} />}
      <Table caption="Notifications that were given up" columns={columns} rows={letters} rowKey={(one) => one.id} sort="-died" sortParameter="sort" />
    </Section>
  );
}

function columnsOf(resend: ((letter: DeadLetter) => Promise<void>) | null, sending: string): readonly Column<DeadLetter>[] {
  return [
    { key: "died", title: "Given up", value: (one) => one.died, cell: (one) => <Time at={one.died} /> },
    { key: "receiver", title: "To", value: (one) => one.receiver, cell: (one) => <Told>{receiverName(one.receiver)}</Told> },
    { key: "summary", title: "What it said", isHead: true, value: (one) => one.name, cell: (one) => <><Told>{one.summary || one.name}</Told> <Tags tags={one.tags} /></> },
    { key: "reason", title: "Why it did not arrive", value: (one) => one.reason, cell: (one) => <><Told most={200}>{one.reason}</Told> <span className="quiet-text">({attemptsWords(one.attempts, one.created, one.died)})</span></> },
    ...(resend ? [{ key: "resend", title: "Action", isFixed: true, value: () => null, cell: (one: DeadLetter) => (one.canResend ? <Button size="small" isBusy={sending === one.id} aria-label={`Send again to ${one.receiver}: ${one.name}`} onClick={() => void resend(one)}>Send again</Button> : <span className="quiet-text">cannot be sent again</span>) }] : []),
  ];
}
