/** Documents as the pages use them: read, checked, and read again when something happened. */

import { useEffect, useMemo, useRef } from "react";
import { useLive } from "@hms-ops/react";
import { reload, useDocument, type DocumentAnswer } from "../../kit/document";

export interface Readable<T> extends Omit<DocumentAnswer<unknown>, "data" | "error"> {
  readonly data: T | null;
  readonly error: Error | null;
}

/** The document at `path` through its reader; one that is not what it should be is an error, not a fault of the page. */
export function useRead<T>(path: string | null, read: (value: unknown) => T, every = 10): Readable<T> {
  const answer = useDocument<unknown>(path, { every });
  const found = useMemo(() => attempt(answer.data, read), [answer.data, read]);
  return { ...answer, data: found.data, error: answer.error ?? found.error };
}

function attempt<T>(value: unknown, read: (value: unknown) => T): { data: T | null; error: Error | null } {
  if (value === null) return { data: null, error: null };
  try {
    return { data: read(value), error: null };
  } catch (error) {
    return { data: null, error: error instanceof Error ? error : new Error(String(error)) };
  }
}

/** What happened is read again when the stream says that something did, at most so often; documents that nobody shows are not. */
export const NEWS_MS = 500;

/** Read the documents that begin so again after each alert, anomaly or action of the stream. */
export function useNews(kinds: readonly ("alert" | "anomaly" | "action")[], prefixes: readonly string[]): void {
  const live = useLive();
  const wanted = useRef({ kinds, prefixes });
  wanted.current = { kinds, prefixes };
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const tell = (): void => {
      timer = undefined;
      for (const prefix of wanted.current.prefixes) reload(prefix);
    };
    const end = live.watchEvents((event) => {
      if (event.type !== "gap" && wanted.current.kinds.includes(event.type)) timer ??= setTimeout(tell, NEWS_MS);
    });
    return () => {
      end();
      clearTimeout(timer);
    };
  }, [live]);
}
