/** The engine's counters as `GET /metrics` writes them: text, so it has a reader of its own. */

import { useCallback, useEffect, useState } from "react";
import { lossesOf, metricLines, type Loss } from "./losses";
import type { Readable } from "./use";

const PATH = "/metrics";
const EVERY_MS = 15_000;
const TIMEOUT_MS = 15_000;

type State = Omit<Readable<readonly Loss[]>, "reload">;

async function read(): Promise<readonly Loss[]> {
  const answer = await fetch(PATH, { credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!answer.ok) throw new Error(`The engine answered ${answer.status} ${answer.statusText}.`);
  return lossesOf(metricLines(await answer.text()));
}

/** What was lost, read again every quarter of a minute while somebody looks. */
export function useLosses(): Readable<readonly Loss[]> {
  const [state, setState] = useState<State>({ data: null, error: null, loading: true, readAt: 0 });
  const reload = useCallback(async () => {
    try {
      const data = await read();
      setState({ data, error: null, loading: false, readAt: Date.now() });
    } catch (error) {
      setState((before) => ({ ...before, error: error instanceof Error ? error : new Error(String(error)), loading: false }));
    }
  }, []);
  useEffect(() => {
    void reload();
    const timer = setInterval(() => !document.hidden && void reload(), EVERY_MS);
    return () => clearInterval(timer);
  }, [reload]);
  return { ...state, reload };
}
