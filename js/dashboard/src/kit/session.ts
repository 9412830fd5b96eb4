/** Who is signed in and what they may do: read once, again after signing in or out, and when the engine says 401. */

import { useSyncExternalStore } from "react";
import { ask, onUnauthorized, Refusal } from "./request";

export type Scope = "ingest" | "read" | "silence" | "admin";

export interface Session {
  readonly user: string | null;
  readonly scopes: readonly Scope[];
  readonly needs_login: boolean;
  readonly status_page: boolean;
  readonly expires: number | null;
  readonly version: string;
  readonly host: string;
}

export interface SessionState {
  readonly session: Session | null;
  /** Why it could not be read; the last one that could stays. */
  readonly error: Refusal | null;
  /** The session has ended while someone was looking. */
  readonly hasEnded: boolean;
}

/** An engine that knows no sessions asks for none. */
const OPEN: Session = { user: null, scopes: ["ingest", "read", "silence", "admin"], needs_login: false, status_page: false, expires: null, version: "", host: "" };

let state: SessionState = { session: null, error: null, hasEnded: false };
const listeners = new Set<() => void>();

function become(next: SessionState): void {
  state = next;
  for (const changed of [...listeners]) changed();
}

function subscribe(changed: () => void): () => void {
  listeners.add(changed);
  return () => listeners.delete(changed);
}

export const useSession = (): SessionState => useSyncExternalStore(subscribe, () => state);

/** Whether who is signed in may do what needs `scope`; admin may all. Buttons that may not be used are not shown. */
export const may = (session: Session | null, scope: Scope): boolean =>
  !!session && (session.scopes.includes(scope) || session.scopes.includes("admin"));

export function useMay(scope: Scope): boolean {
  return may(useSession().session, scope);
}

export async function readSession(): Promise<void> {
  try {
    become({ session: await ask<Session>("/v1/session"), error: null, hasEnded: state.hasEnded });
  } catch (error) {
    const refusal = error instanceof Refusal ? error : null;
    if (refusal?.status === 404) become({ session: OPEN, error: null, hasEnded: false });
    else become({ ...state, error: refusal });
  }
}

/** Exchange a token for the cookie; the token is kept nowhere. Throws a Refusal. */
export async function signIn(token: string): Promise<void> {
  await ask("/v1/session", { method: "POST", body: { token } });
  state = { ...state, hasEnded: false };
  await readSession();
}

export async function signOut(): Promise<void> {
  await ask("/v1/session", { method: "DELETE" });
  await readSession();
}

onUnauthorized(() => {
  if (state.session && !state.session.needs_login) state = { ...state, hasEnded: true };
  void readSession();
});

// Somebody may have signed in in another tab: whoever comes back to this one is not asked again.
globalThis.addEventListener?.("focus", () => {
  if (state.session?.needs_login) void readSession();
});
