/** What people do about an alert: acknowledge it, silence it for a while, take that back; with a comment for the log. */
import { useRef, useState, type FormEvent } from "react";
import type { Alert } from "@hms-ops/client";
import { formatDuration } from "./format.js";
import { useLiveIfAny } from "./provider.js";
import { messageOf } from "./query.js";

type Action = "ack" | "unack" | "silence" | "unsilence";

const WORDS: Readonly<Record<Action, string>> = {
  ack: "Acknowledge", unack: "End acknowledgement", silence: "Silence", unsilence: "End silence",
};
const focused = (field: HTMLElement | null): void => field?.focus();
const HOUR = 3600;
const SPANS = [HOUR / 2, 2 * HOUR, 8 * HOUR, 24 * HOUR, 7 * 24 * HOUR];

export function AlertActions({ alert, who }: { alert: Alert; who: string | undefined }) {
  const live = useLiveIfAny(), box = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState<Action | null>(null), [said, say] = useState(""), [failed, fail] = useState("");
  const close = (): void => (setOpen(null), box.current?.querySelector("button")?.focus());
  const run = async (action: Action, given: Readonly<Record<string, unknown>> = {}): Promise<void> => {
    try {
      await live!.client.request(`/v1/alerts/${encodeURIComponent(alert.name)}/${action}`, { body: { tags: alert.tags, who, ...given } });
      close(), say(`${WORDS[action]}: done.`);
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
    <div className="ops-alert-actions" ref={box}>
      {actions.map((action, at) => (
        <button key={at} type="button" onClick={() => start(action)} aria-expanded={action[0] === "u" ? undefined : open === action}>
          {WORDS[action]}<span className="ops-hidden"> {alert.name}</span>
        </button>
      ))}
      {open && (
        <form onSubmit={submit} onKeyDown={(event) => event.key === "Escape" && close()}>
          <label>Comment<input ref={focused} name="comment" /></label>
          {open === "silence" && (
            <label className="ops-alert-for">For
              <select name="for" defaultValue={2 * HOUR}>{SPANS.map((span) => <option key={span} value={span}>{formatDuration(span)}</option>)}</select>
            </label>
          )}
          <button type="submit">{WORDS[open]}</button>
          <button type="button" onClick={close}>Cancel</button>
        </form>
      )}
      <span role="status">{said}</span>
      {failed && <p className="ops-alert-error" role="alert">{failed}</p>}
    </div>
  );
}
