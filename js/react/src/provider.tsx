/** Which engine the pieces below show: one `Live` in a context, or the engine of the page's own origin. */
import { createContext, useContext, useEffect, useMemo, type ReactNode } from "react";
import { Client } from "@hms-ops/client";
import { createLive, type Live } from "@hms-ops/core";

export interface OpsProviderProps {
  /** A connection that somebody else opens and closes. */
  live?: Live | undefined;
  /** A client to connect with; or `url` and `token` for one of our own. */
  client?: Client | undefined;
  /** `https://HOST:PORT`; the page's own origin without it. */
  url?: string | undefined;
  token?: string | undefined;
  children?: ReactNode;
}

const LiveContext = createContext<Live | null>(null);
let shared: Live | null = null;

export function OpsProvider({ live, client, url, token, children }: OpsProviderProps) {
  const own = useMemo(
    () => (live || isServer() ? null : createLive(client ?? new Client({ http: url, token }))),
    [live, client, url, token],
  );
  useEffect(() => own ? closedLater(own) : undefined, [own]);
  return <LiveContext.Provider value={live ?? own}>{children}</LiveContext.Provider>;
}

const closing = new WeakMap<Live, ReturnType<typeof setTimeout>>();

/** StrictMode takes effects back and runs them again at once: what is wanted again is not closed. */
function closedLater(live: Live): () => void {
  clearTimeout(closing.get(live));
  return () => closing.set(live, setTimeout(() => live.close(), 0));
}

/** The connection of the provider above, else one for the page, made when it is first asked for; null on a server. */
export function useLiveIfAny(): Live | null {
  const given = useContext(LiveContext);
  return given ?? (isServer() ? null : (shared ??= createLive(new Client())));
}

/** The connection the pieces use. On a server there is none without a provider: an error says so. */
export function useLive(): Live {
  const live = useLiveIfAny();
  if (!live) throw new Error("no connection on a server");
  return live;
}

const isServer = (): boolean => typeof document === "undefined";
