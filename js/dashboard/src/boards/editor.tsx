/** A board's text: line numbers beside it, problems at their line, saved only over what was read (If-Match). */

import { useEffect, useMemo, useRef, useState, type RefObject } from "react";
import { toast } from "../kit/announce";
import { Button } from "../kit/form";
import { ErrorNote, wordsOf } from "../kit/notes";
import { ask, Refusal } from "../kit/request";
import { pathOf, type Board, type LineProblem } from "./board";

export interface EditorProps {
  readonly name: string;
  readonly text: string;
  /** Of the text that was read; null: a new board. */
  readonly etag: string | null;
  readonly onSaved: (board: Board) => void;
  readonly onLeave: () => void;
}

export function Editor({ name, text: start, etag, onSaved, onLeave }: EditorProps) {
  const [text, setText] = useState(start);
  const [problems, setProblems] = useState<readonly LineProblem[]>([]);
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const area = useRef<HTMLTextAreaElement>(null);
  const isChanged = text !== start;
  useWarning(isChanged);
  const save = async (): Promise<void> => {
    setBusy(true);
    try {
      const headers: Record<string, string> = { "Content-Type": "application/yaml", ...(etag ? { "If-Match": `"${etag}"` } : {}) };
      onSaved(await ask<Board>(pathOf(name), { method: "PUT", body: text, headers }));
      toast("Saved.", "good");
    } catch (refusal) {
      const found = problemsOf(refusal);
      setProblems(found);
      setError(found.length ? null : refusal);
      if (found[0]) show(area, found[0].line);
    }
    setBusy(false);
  };
  return (
    <div className="stack">
      <TextArea area={area} text={text} problems={problems} onText={(next) => (setText(next), setProblems([]))} />
      {problems.length > 0 && <Problems problems={problems} area={area} />}
      {error !== null && <ErrorNote title={error instanceof Refusal && error.status === 412 ? "Somebody else has saved this board meanwhile" : "It could not be saved"} error={error instanceof Refusal && error.status === 412 ? "Copy your text, leave, and edit theirs: so that neither is lost." : wordsOf(error)} />}
      <p className="editor-buttons">
        <Button look="primary" isBusy={isBusy} onClick={() => void save()}>Save</Button>
        <Button onClick={onLeave}>{isChanged ? "Leave without saving" : "Leave"}</Button>
      </p>
    </div>
  );
}

function problemsOf(error: unknown): readonly LineProblem[] {
  const listed = error instanceof Refusal ? error.problem["problems"] : null;
  return Array.isArray(listed) ? (listed as LineProblem[]) : [];
}

/** The browser asks before what was typed is lost. */
function useWarning(isChanged: boolean): void {
  useEffect(() => {
    if (!isChanged) return;
    const warn = (event: BeforeUnloadEvent): void => event.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => window.removeEventListener("beforeunload", warn);
  }, [isChanged]);
}

interface TextAreaProps {
  readonly area: RefObject<HTMLTextAreaElement | null>;
  readonly text: string;
  readonly problems: readonly LineProblem[];
  readonly onText: (text: string) => void;
}

function TextArea({ area, text, problems, onText }: TextAreaProps) {
  const lines = useMemo(() => text.split("\n").length, [text]);
  const wrong = useMemo(() => new Set(problems.map((problem) => problem.line)), [problems]);
  return (
    <div className="editor">
      <label className="unseen" htmlFor="board-text">The board’s text, in YAML</label>
      <ol className="editor-lines" aria-hidden="true">
        {Array.from({ length: lines }, (_, at) => <li key={at} className={wrong.has(at + 1) ? "is-wrong" : undefined}>{wrong.has(at + 1) ? `▲ ${at + 1}` : at + 1}</li>)}
      </ol>
      <textarea
        ref={area} id="board-text" wrap="off" spellCheck={false} autoCapitalize="off" rows={Math.max(lines, 12)} value={text}
        aria-invalid={problems.length > 0 || undefined} aria-describedby={problems.length ? "board-problems" : undefined}
        onInput={(event) => onText(event.currentTarget.value)}
      />
    </div>
  );
}

function Problems({ problems, area }: { readonly problems: readonly LineProblem[]; readonly area: RefObject<HTMLTextAreaElement | null> }) {
  return (
    <div className="error-note" role="alert" id="board-problems">
      <p className="error-title">{problems.length === 1 ? "Nothing was saved: one line is wrong" : `Nothing was saved: ${problems.length} lines are wrong`}</p>
      <ul className="stack">
        {problems.map((problem, at) => <li key={at}><Button size="small" onClick={() => show(area, problem.line)}>{`Line ${problem.line}`}</Button> <span>{problem.message}</span></li>)}
      </ul>
    </div>
  );
}

/** Put the cursor on a line. */
function show(area: RefObject<HTMLTextAreaElement | null>, line: number): void {
  const element = area.current;
  if (!element) return;
  const lines = element.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
  element.focus();
  element.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
}
