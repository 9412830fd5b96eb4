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
  const live = useLiveIfAny(), first = useRef<HTMLInputElement>(null);
  const [open, setOpen] = useState<Action | null>(null), [said, say] = useState(""), [failed, fail] = useState("");
  useEffect(() => first.current?.focus(), [open]);
  const run = async (action: Action, given: Readonly<Record<string, unknown>> = {}): Promise<void> => {
    try {
      await live!.client.request(`/v1/alerts/${encodeURIComponent(alert.name)}/${action}`, { body: { tags: alert.tags, who, ...given } });
      setOpen(null), say(`${WORDS[action]}: done.`);
    } catch (error) {
      fail(messageOf(error));
    }
  };
  const start = (action: Action): void => {
    say(""), fail("");
    if (action[0] === "u") void run(action);
    else setOpen(open === action ? null : action);
  };
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    void run(open!, { comment: given.get("comment") || undefined, for: Number(given.get("for")) || undefined });
  };
  const ack: readonly Action[] = alert.state === "firing" ? [alert.acknowledged ? "unack" : "ack"] : [];
  const actions: readonly Action[] = [...ack, alert.silenced_by ? "unsilence" : "silence"];
  return (
    <div className="ops-alert-actions">
      {actions.map((action) => (
        <button key={action} type="button" onClick={() => start(action)} aria-expanded={action[0] === "u" ? undefined : open === action}>
          {WORDS[action]}<span className="ops-hidden"> {alert.name}</span>
        </button>
      ))}
      {open && (
        <form onSubmit={submit} onKeyDown={(event) => event.key === "Escape" && setOpen(null)}>
          <label>Comment<input ref={first} name="comment" /></label>
          {open === "silence" && (
            <label className="ops-alert-for">For
              <select name="for" defaultValue={2 * HOUR}>{SPANS.map((span) => <option key={span} value={span}>{formatDuration(span)}</option>)}</select>
            </label>
          )}
          <button type="submit">{WORDS[open]}</button>
          <button type="button" onClick={() => setOpen(null)}>Cancel</button>
        </form>
      )}
      <span role="status">{said}</span>
      {failed && <p className="ops-alert-error" role="alert">{failed}</p>}
    </div>
  );
}
