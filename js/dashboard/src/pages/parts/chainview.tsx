/** Whether the audit log is whole, checked here: the export is read and every hash computed by this browser. */

import { useEffect, useRef, useState } from "react";
import { announce } from "../../kit/announce";
import { Button, ButtonLink } from "../../kit/form";
import { count } from "../../kit/format";
import { Code, Light, type LightState } from "../../kit/marks";
import { ErrorNote } from "../../kit/notes";
import { Section } from "../../kit/page";
import { browserDigest, checkChain, linesOf, type ChainState } from "./chain";

const EXPORT = "/v1/audit/export";
const LIGHTS: Readonly<Record<ChainState["state"], LightState>> = { whole: "good", broken: "bad", unknown: "waiting" };
const WORDS: Readonly<Record<ChainState["state"], string>> = { whole: "The chain is whole", broken: "The chain is broken", unknown: "Not checked" };

/** Without TLS a browser has no SHA-256, beyond its own machine. */
const NO_DIGEST: ChainState = { state: "unknown", records: 0, last: -1, hash: "", words: "This browser computes hashes on pages with TLS only. On the engine's machine: hms-ops-engine audit verify." };

async function check(progress: (records: number) => void, signal: AbortSignal): Promise<ChainState> {
  const digest = browserDigest();
  if (!digest) return NO_DIGEST;
  const answer = await fetch(EXPORT, { credentials: "same-origin", cache: "no-store", signal });
  if (!answer.ok || !answer.body) throw new Error(`The engine answered ${answer.status} ${answer.statusText}.`);
  return checkChain(linesOf(answer.body), digest, progress);
}

export function Chain() {
  const [state, setState] = useState<ChainState | null>(null);
  const [checked, setChecked] = useState<number | null>(null);
  const [error, setError] = useState<unknown>(null);
  const stop = useRef<AbortController | null>(null);
  useEffect(() => () => stop.current?.abort(), []);
  const run = async (): Promise<void> => {
    const own = (stop.current = new AbortController());
    setChecked(0);
    setError(null);
    try {
      const found = await check(setChecked, own.signal);
      setState(found);
      announce(`${WORDS[found.state]}. ${found.words}`);
    } catch (reason) {
      if (!own.signal.aborted) setError(reason);
    }
    setChecked(null);
  };
  const actions = <><Button isBusy={checked !== null} onClick={() => void run()}>{state ? "Check again" : "Check the chain"}</Button><ButtonLink href={EXPORT}>Export</ButtonLink></>;
  return (
    <Section title="The chain" note="Checked in this browser: it reads the whole log and computes every hash itself." actions={actions}>
      {error !== null && <ErrorNote title="The log could not be read to its end" error={error} />}
      {checked !== null ? <p className="loading">{`${count(checked)} records checked…`}</p> : state ? <Verdict state={state} /> : <p className="quiet-text">Not checked yet since this page was opened.</p>}
    </Section>
  );
}

function Verdict({ state }: { readonly state: ChainState }) {
  return (
    <div className="stack">
      <div className="finding"><Light state={LIGHTS[state.state]} word={WORDS[state.state]} /><span className="finding-words">{state.words}</span></div>
      {state.state === "whole" && state.records > 0 && <p className="note">Keep the number and hash of the newest record elsewhere; they find out who writes all of it anew: <Code>{`hms-ops-engine audit verify --expect ${state.last}:${state.hash}`}</Code></p>}
    </div>
  );
}
