/** Documents as the pages use them: read, checked, and read again; what this person may do. */

import { useMemo } from "react";
import { useDocument, type DocumentAnswer } from "../../kit/document";
import { readSession } from "./documents";

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

export type Scope = "read" | "silence" | "admin";

/** Whether this person may; true until the engine has said otherwise, and it decides in any case. */
export function useMay(scope: Scope): boolean {
  const { data } = useRead("/v1/session", readSession, 0);
  return !data || data.scopes.length === 0 || data.scopes.includes(scope) || data.scopes.includes("admin");
}

/** Who is signed in; "" for nobody, as on the engine's own machine. */
export function useWho(): string {
  return useRead("/v1/session", readSession, 0).data?.user ?? "";
}
