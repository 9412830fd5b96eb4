/** What people do about an alert: acknowledge it, silence it for a while, take that back; with a comment for the log. */
import { useEffect, useRef, useState, type FormEvent } from "react";
import type { Alert } from "@hms-ops/client";
import { formatDuration } from "./format.js";
import { useLiveIfAny } from "./provider.js";
import { messageOf } from "./query.js";

type Action = "ack" | "unack" | "silence" | "unsilence";

const WORDS: Readonly<Record<Action, string>> = {
  ack: "Acknowledge", unack: "Take acknowledgement back", silence: "Silence", unsilence: "End silence",
};
const HOUR = 3600;
const SPANS = [HOUR / 2, 2 * HOUR, 8 * HOUR, 24 * HOUR, 7 * 24 * HOUR];

export function AlertActions({ alert, who }: { alert: Alert; who: string | undefined }) {
  const live = useLiveIfAny();
  const [open, setOpen] = useState<Action | null>(null), [said, say] = useState(""), [failed, fail] = useState("");
  const [isBusy, setBusy] = useState(false);
  const actions: readonly Action[] = [
    ...(alert.state !== "firing" ? [] : alert.acknowledged ? ["unack"] as const : ["ack"] as const),
    alert.silenced_by ? "unsilence" : "silence",
  ];
  const run = async (action: Action, given: Readonly<Record<string, unknown>> = {}): Promise<void> => {
    setBusy(true), fail("");
    try {
      await live!.client.request(`/v1/alerts/${encodeURIComponent(alert.name)}/${action}`, { body: { tags: alert.tags, who, ...given } });
      setOpen(null), say(`${WORDS[action]}: done.`);
    } catch (error) {
      fail(messageOf(error));
    }
    setBusy(false);
  };
  const start = (action: Action): void => {
    say(""), fail("");
    if (action === "unack" || action === "unsilence") void run(action);
    else setOpen(open === action ? null : action);
  };
  return (
    <div className="ops-alert-actions">
      {actions.map((action) => (
        <button key={action} type="button" disabled={isBusy} onClick={() => start(action)}
          aria-expanded={action === "ack" || action === "silence" ? open === action : undefined}>
          {WORDS[action]}<span className="ops-hidden"> {alert.name}</span>
        </button>
      ))}
      {open && <ActionForm action={open} isBusy={isBusy} run={run} cancel={() => setOpen(null)} />}
      <span role="status">{said}</span>
      {failed && <p className="ops-alert-error" role="alert">{failed}</p>}
    </div>
  );
}

interface ActionFormProps {
  action: Action;
  isBusy: boolean;
  run: (action: Action, given: Readonly<Record<string, unknown>>) => Promise<void>;
  cancel: () => void;
}

function ActionForm({ action, isBusy, run, cancel }: ActionFormProps) {
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.focus(), [action]);
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    void run(action, { comment: given.get("comment") || undefined, for: Number(given.get("for")) || undefined });
  };
  return (
    <form onSubmit={submit} onKeyDown={(event) => event.key === "Escape" && cancel()}>
      <label>Comment<input ref={first} name="comment" maxLength={1000} autoComplete="off" /></label>
      {action === "silence" && (
        <label className="ops-alert-for">For
          <select name="for" defaultValue={2 * HOUR}>{SPANS.map((span) => <option key={span} value={span}>{formatDuration(span)}</option>)}</select>
        </label>
      )}
      <button type="submit" disabled={isBusy}>{WORDS[action]}</button>
      <button type="button" onClick={cancel}>Cancel</button>
    </form>
  );
}
