/** Questions over history as React asks them: again every few seconds, never while the page is hidden, one at a time. */
import { useEffect, useState } from "react";
import type { QueryAnswer } from "@hms-ops/client";
import type { Live } from "@hms-ops/core";
import { useLiveIfAny } from "./provider.js";

export interface QueryOptions {
  /** Unix seconds, [start, end). Without both: the value now. */
  start?: number | undefined;
  end?: number | undefined;
  /** Instead of `start`: so many seconds up to the newest second of the stream, else by this computer's clock. */
  range?: number | undefined;
  /** Seconds or a duration; or `points`: the step that gives at most so many. */
  step?: number | string | undefined;
  points?: number | undefined;
  /** Ask again every so many seconds; without it once. */
  every?: number | undefined;
}

export interface Asked<T> {
  /** The last answer to these expressions; it stays while one over another range is on its way, or fails. */
  readonly data: T | null;
  readonly error: string | null;
  readonly loading: boolean;
}

const LOADING: Asked<readonly QueryAnswer[]> = { data: null, error: null, loading: true };

/** The answer to an expression. */
export function useQuery(expr: string, options: QueryOptions = {}): Asked<QueryAnswer> {
  const asked = useQueries(expr ? [expr] : [], options);
  return { ...asked, data: asked.data?.[0] ?? null };
}

/** The answers to several, all or none. An empty list asks nothing. */
export function useQueries(exprs: readonly string[], options: QueryOptions = {}): Asked<readonly QueryAnswer[]> {
  const live = useLiveIfAny();
  const about = JSON.stringify(exprs), key = about + JSON.stringify(options);
  const [asked, set] = useState({ ...LOADING, about, key });
  useEffect(() => {
    if (!live || !exprs.length) return;
    return repeated(options.every, async (signal) => {
      try {
        const data = await Promise.all(exprs.map((expr) => ask(live, expr, options, signal)));
        if (!signal.aborted) set({ data, error: null, loading: false, about, key });
      } catch (error) {
        if (!signal.aborted) set((was) => ({ data: was.about === about ? was.data : null, error: messageOf(error), loading: false, about, key }));
      }
    });
  }, [live, key]);
  const { data, error, loading } = asked.about === about ? asked : LOADING;
  return { data, error, loading: exprs.length > 0 && (loading || asked.key !== key) };
}

function ask(live: Live, expr: string, { start, end, range, step, points }: QueryOptions, signal: AbortSignal): Promise<QueryAnswer> {
  const from = range ? (live.state().second ?? Math.floor(Date.now() / 1000)) - range : start;
  const parameters = { expr, start: from, end, step, points: step ? undefined : points };
  return live.client.request<QueryAnswer>("/v1/query", { parameters, signal });
}

/** Run now and `every` seconds after each end, resting while nobody looks. Returns the stop. */
export function repeated(every: number | undefined, run: (signal: AbortSignal) => Promise<void>): () => void {
  const ending = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const turn = async (): Promise<void> => {
    if (!document.hidden) await run(ending.signal);
    if (every && !ending.signal.aborted) timer = setTimeout(turn, document.hidden ? 1000 : every * 1000);
  };
  void turn();
  return () => (clearTimeout(timer), ending.abort());
}

/** What went wrong, in the words of the engine where it has some. */
export function messageOf(error: unknown): string {
  const { problem, message } = error as { problem?: { detail?: string }; message?: string };
  return problem?.detail ?? message ?? String(error);
}
