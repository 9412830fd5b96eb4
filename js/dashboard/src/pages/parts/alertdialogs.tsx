/** What a person does about an alert: take it, give it back, silence it, end a silence. Each asks once and says what the engine answered. */

import { useRef, useState, type KeyboardEvent, type ReactNode } from "react";
import { toast } from "../../kit/announce";
import { useNow } from "../../kit/clock";
import { Dialog } from "../../kit/dialog";
import { reload } from "../../kit/document";
import { Button, Choice, SelectField, TextField } from "../../kit/form";
import { plural } from "../../kit/format";
import { ErrorNote } from "../../kit/notes";
import { ask } from "../../kit/request";
import { stateWord } from "./alertwords";
import type { AlertDoc, SilenceDoc } from "./documents";
import { durationProblem, LASTS, silenceBody, silenceTimes, silenceWords, type Of } from "./silencing";
import { Tags, Told } from "./told";
import { useWho } from "./who";

export const COMMENT_CHARS_MAX = 1_000;
const SHOWN_MS = 30; // until what is wrong is marked

interface ActProps {
  readonly title: string;
  /** The button that does it. */
  readonly doIt: string;
  readonly isDanger?: boolean;
  /** What is missing, before anything is sent; null when nothing is. */
  readonly check?: () => string | null;
  /** Send it; what to say of the answer. */
  readonly send: () => Promise<string>;
  readonly onClose: () => void;
  readonly children: ReactNode;
}

/** A dialog with one thing to do: it stays open until the engine has answered, and with what was typed when it refuses. */
export function Act({ title, doIt, isDanger = false, check, send, onClose, children }: ActProps) {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const inside = useRef<HTMLDivElement>(null);
  const act = async (): Promise<void> => {
    if (check?.()) return void setTimeout(() => inside.current?.querySelector<HTMLElement>("[aria-invalid]")?.focus(), SHOWN_MS);
    setBusy(true);
    setError(null);
    try {
      toast(await send(), "good");
      reload("/v1/alerts");
      reload("/v1/silences");
      onClose();
    } catch (reason) {
      setError(reason);
      setBusy(false);
    }
  };
  const actions = (
    <>
      <Button onClick={onClose}>Cancel</Button>
      <Button look={isDanger ? "danger" : "primary"} isBusy={isBusy} onClick={() => void act()}>{doIt}</Button>
    </>
  );
  return (
    <Dialog title={title} onClose={onClose} actions={actions}>
      <div className="act" ref={inside} onKeyDown={(event) => isEnter(event) && !isBusy && void act()}>{children}</div>
      {error !== null && <ErrorNote title="The engine did not take it" error={error} />}
    </Dialog>
  );
}

/** Enter in a field does it, as in a form. */
const isEnter = (event: KeyboardEvent): boolean => event.key === "Enter" && event.target instanceof HTMLInputElement && event.target.type === "text";

const post = <T,>(alert: Pick<AlertDoc, "name">, what: string, body: unknown): Promise<T> =>
  ask<T>(`/v1/alerts/${encodeURIComponent(alert.name)}/${what}`, { method: "POST", body });

/** The alert a dialog is about. */
function About({ alert }: { readonly alert: AlertDoc }) {
  return <div className="about-alert"><strong><Told>{alert.name}</Told></strong> <span className="quiet-text">{stateWord(alert.state)}</span><Tags tags={alert.tags} /></div>;
}

// ---- taking it

const ACK_LASTS = [["", "Until it ends"], ["30m", "30 minutes"], ["2h", "2 hours"], ["8h", "8 hours"]] as const;

interface Answered {
  readonly alerts: number;
  readonly who: string;
}

export function Acknowledge({ alert, onClose }: { readonly alert: AlertDoc; readonly onClose: () => void }) {
  const [who, setWho, keepWho, needsWho] = useWho();
  const [comment, setComment] = useState("");
  const [lasts, setLasts] = useState("");
  const send = async (): Promise<string> => {
    const body = { tags: alert.tags, comment, ...(who ? { who } : {}), ...(lasts ? { for: lasts } : {}) };
    const answer = await post<Answered>(alert, "ack", body);
    keepWho();
    return `${answer.who} has ${alert.name}${answer.alerts > 1 ? ` (${plural(answer.alerts, "alert")})` : ""}. Its other receivers are not told any more.`;
  };
  return (
    <Act title="Take this alert" doIt="I have it" send={send} onClose={onClose}>
      <About alert={alert} />
      <p>Others see that somebody is on it. Escalation levels that wait for this stop, and it is not repeated.</p>
      {needsWho && <Who value={who} onValue={setWho} />}
      <TextField label="Comment" hint="What you are doing about it. Optional." value={comment} onValue={setComment} maxLength={COMMENT_CHARS_MAX} />
      <SelectField label="How long" value={lasts} onValue={setLasts} choices={ACK_LASTS} />
    </Act>
  );
}

function Who({ value, onValue }: { readonly value: string; readonly onValue: (value: string) => void }) {
  return <TextField label="Your name" hint="Others see it, and the audit log keeps it." value={value} onValue={onValue} maxLength={200} autoComplete="name" />;
}

export function Unacknowledge({ alert, onClose }: { readonly alert: AlertDoc; readonly onClose: () => void }) {
  const [who, setWho, keepWho, needsWho] = useWho();
  const send = async (): Promise<string> => {
    const answer = await post<Answered>(alert, "unack", { tags: alert.tags, ...(who ? { who } : {}) });
    keepWho();
    return `Nobody has ${alert.name} any more${answer.alerts > 1 ? ` (${plural(answer.alerts, "alert")})` : ""}. It is told and escalated again.`;
  };
  return (
    <Act title="Give this alert back" doIt="Give it back" send={send} onClose={onClose}>
      <About alert={alert} />
      <p>{alert.acknowledged ? `${alert.acknowledged.by || "Somebody"} has it now. ` : ""}Its receivers are told again, and its escalation begins anew.</p>
      {needsWho && <Who value={who} onValue={setWho} />}
    </Act>
  );
}

// ---- silences

interface SilenceProps {
  readonly alert: AlertDoc;
  /** How many alerts of its rule there are now. */
  readonly instances: number;
  readonly onClose: () => void;
}

export function Silence({ alert, instances, onClose }: SilenceProps) {
  const [who, setWho, keepWho, needsWho] = useWho();
  const hasTags = Object.keys(alert.tags).length > 0;
  const [of, setOf] = useState<Of>(hasTags ? "instance" : "rule");
  const lasts = useLasts();
  const [comment, setComment] = useState("");
  const [wasTried, setTried] = useState(false);
  const problem = comment.trim() ? null : "Say why, for whoever finds it silent.";
  const check = (): string | null => (setTried(true), problem ?? lasts.problem);
  const send = async (): Promise<string> => {
    const made = await post<{ id: string }>(alert, "silence", silenceBody(alert.tags, of, lasts.text, comment.trim(), who));
    keepWho();
    return `Silence ${made.id} lasts ${lasts.text}. ${silenceWords(alert.name, alert.tags, of, instances)}`;
  };
  return (
    <Act title="Silence this alert" doIt="Silence" check={check} send={send} onClose={onClose}>
      <About alert={alert} />
      <p>Nobody is told of it meanwhile. It still shows here, and what still fires at the end is told then.</p>
      {hasTags && <Choice label="What is silenced" value={of} onValue={(value) => setOf(value as Of)} choices={[["instance", "Only this one"], ["rule", "The whole rule"]]} />}
      <p className="quiet-text"><Told>{silenceWords(alert.name, alert.tags, of, instances)}</Told></p>
      <Lasts lasts={lasts} wasTried={wasTried} />
      <TextField label="Why" hint="Required. Others see it, and the audit log keeps it." error={wasTried ? problem : null} value={comment} onValue={setComment} maxLength={COMMENT_CHARS_MAX} required />
      {needsWho && <Who value={who} onValue={setWho} />}
    </Act>
  );
}

interface LastsState {
  readonly choice: string;
  readonly setChoice: (value: string) => void;
  readonly other: string;
  readonly setOther: (value: string) => void;
  readonly text: string;
  readonly problem: string | null;
}

function useLasts(): LastsState {
  const [choice, setChoice] = useState("2h");
  const [other, setOther] = useState("");
  const text = (choice === "other" ? other : choice).trim();
  return { choice, setChoice, other, setOther, text, problem: durationProblem(text) };
}

function Lasts({ lasts, wasTried }: { readonly lasts: LastsState; readonly wasTried: boolean }) {
  return (
    <>
      <SelectField label="How long" value={lasts.choice} onValue={lasts.setChoice} choices={LASTS} />
      {lasts.choice === "other" && <TextField label="Duration" hint="As in 45m, 3h or 2d." error={wasTried ? lasts.problem : null} value={lasts.other} onValue={lasts.setOther} required />}
    </>
  );
}

/** A silence of any alerts, by matchers. */
export function NewSilence({ onClose }: { readonly onClose: () => void }) {
  const [who, setWho, keepWho, needsWho] = useWho();
  const [match, setMatch] = useState("");
  const [comment, setComment] = useState("");
  const lasts = useLasts();
  const [wasTried, setTried] = useState(false);
  const noMatch = match.trim() ? null : "Say which alerts; a silence of everything is none.";
  const noComment = comment.trim() ? null : "Say why, for whoever finds them silent.";
  const send = async (): Promise<string> => {
    const made = await ask<{ id: string; match: string }>("/v1/silences", { method: "POST", body: { match: match.trim(), for: lasts.text, comment: comment.trim(), ...(who ? { who } : {}) } });
    keepWho();
    return `Silence ${made.id} of ${made.match} lasts ${lasts.text}.`;
  };
  return (
    <Act title="Silence alerts" doIt="Silence" check={() => (setTried(true), noMatch ?? noComment ?? lasts.problem)} send={send} onClose={onClose}>
      <TextField label="Which alerts" hint={'Tags that all must match: agency=irs, severity=~"page|ticket", alertname=db.write_slow'} error={wasTried ? noMatch : null} value={match} onValue={setMatch} required />
      <Lasts lasts={lasts} wasTried={wasTried} />
      <TextField label="Why" hint="Required. Others see it, and the audit log keeps it." error={wasTried ? noComment : null} value={comment} onValue={setComment} maxLength={COMMENT_CHARS_MAX} required />
      {needsWho && <Who value={who} onValue={setWho} />}
    </Act>
  );
}

export function EndSilence({ silence, onClose }: { readonly silence: SilenceDoc; readonly onClose: () => void }) {
  const [who, setWho, keepWho, needsWho] = useWho();
  const now = useNow();
  const send = async (): Promise<string> => {
    await ask(`/v1/silences/${encodeURIComponent(silence.id)}${who ? `?who=${encodeURIComponent(who)}` : ""}`, { method: "DELETE" });
    keepWho();
    return `Silence ${silence.id} has ended. What fires is told now.`;
  };
  return (
    <Act title="End this silence" doIt="End it" send={send} onClose={onClose}>
      <p>It silences every alert with <Told isCode>{silence.match}</Told>, {silenceTimes(silence, now)}. What still fires is told at once.</p>
      {silence.comment && <p className="quiet-text">{silence.who}: “<Told>{silence.comment}</Told>”</p>}
      {needsWho && <Who value={who} onValue={setWho} />}
    </Act>
  );
}
