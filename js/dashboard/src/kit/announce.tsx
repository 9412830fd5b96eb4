/**
 * What is said aloud and what pops up: one polite live region for the whole page, so that nothing is said twice, and
 * short notes at the edge. Errors of a form stand at the form, not here. What comes together is said together, a moment
 * later: a dialog that closes with it must be gone, since all behind a modal dialog is unheard (it has a region of its own).
 */

import { useSyncExternalStore } from "react";

export type Tone = "plain" | "good" | "bad" | "warn";

interface Note {
  readonly id: number;
  readonly text: string;
  readonly tone: Tone;
}

export const NOTE_MS = 8_000;
export const NOTES_MAX = 3;
export const SAY_AFTER_MS = 200;

let said = "";
let waiting: readonly string[] = [];
let notes: readonly Note[] = [];
let last = 0;
const listeners = new Set<() => void>();

function tell(): void {
  for (const changed of [...listeners]) changed();
}

function subscribe(changed: () => void): () => void {
  listeners.add(changed);
  return () => listeners.delete(changed);
}

/** Say it to who listens with a screen reader; nothing is shown. The same text twice is said twice. */
export function announce(text: string): void {
  if (!waiting.length) setTimeout(say, SAY_AFTER_MS);
  waiting = [...new Set([...waiting, text])];
}

function say(): void {
  const text = waiting.length === 1 ? waiting[0]! : waiting.map((one) => (/[.?!]$/.test(one) ? one : `${one}.`)).join(" ");
  waiting = [];
  said = text === said ? `${text}\u00a0` : text;
  tell();
}

/** Show it for some seconds, and say it. What is bad stays until somebody closes it, unless `stays_ms` says otherwise. */
export function toast(text: string, tone: Tone = "plain", stays_ms = tone === "bad" ? Infinity : NOTE_MS): void {
  const id = ++last;
  notes = [...notes, { id, text, tone }].slice(-NOTES_MAX);
  announce(text);
  if (stays_ms < Infinity) setTimeout(() => leave(id), stays_ms);
}

const RETRY_MS = 1_000;

/** Not while somebody is on it. */
function leave(id: number): void {
  if (document.getElementById(`note-${id}`)?.matches(":hover, :focus-within")) setTimeout(() => leave(id), RETRY_MS);
  else dismiss(id);
}

function dismiss(id: number): void {
  notes = notes.filter((note) => note.id !== id);
  tell();
}

/** The live region: in the shell, and in each modal dialog. */
export function Region() {
  return <div className="unseen" role="status" aria-live="polite">{useSyncExternalStore(subscribe, () => said)}</div>;
}

/** Stands once, in the shell. */
export function Announcer() {
  const shown = useSyncExternalStore(subscribe, () => notes);
  return (
    <>
      <Region />
      {shown.length > 0 && (
        <aside className="toasts" aria-label="Notes">
          {shown.map((note) => (
            <p key={note.id} id={`note-${note.id}`} className={`toast tone-${note.tone}`}>
              <span>{note.text}</span>
              <button type="button" className="button quiet small" onClick={() => dismiss(note.id)} aria-label="Close this note">✕</button>
            </p>
          ))}
        </aside>
      )}
    </>
  );
}
