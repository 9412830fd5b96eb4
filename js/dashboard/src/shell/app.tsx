/** The whole: who is signed in, the frame, and the page that the address names. */

import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Client } from "@hms-ops/client";
import { createLive } from "@hms-ops/core";
import { OpsProvider } from "@hms-ops/react";
import { Announcer } from "../kit/announce";
import { Boundary, ErrorNote, Loading } from "../kit/notes";
import { readSession, useSession } from "../kit/session";
import { pages } from "../pages";
import { usePage, useParameter } from "../router";
import { Banner } from "./banner";
import { Bar, Mark } from "./bar";
import { Keymap } from "./keymap";
import { useKeptFocus } from "./kept-focus";
import { useShortcuts, type Shortcut } from "./keys";
import { Login } from "./login";
import { Navigation } from "./navigation";
import { Outlet } from "./outlet";
import { Palette } from "./palette";
import { goTo, shortcutsOf } from "./shortcuts";
import { Keeper } from "./state";
import { Teller } from "./teller";

export const SESSION_EVERY_MS = 60_000;

export function App() {
  const { session, error } = useSession();
  useEffect(() => {
    void readSession();
    const timer = setInterval(() => void readSession(), SESSION_EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  if (!session) return <main id="main">{error ? <NoEngine error={error} /> : <Loading label="Asking the engine" />}</main>;
  if (session.needs_login) return <><header className="bar"><span className="brand"><Mark />HMS-OPS</span></header><main id="main"><Login /></main></>;
  return <SignedIn key={session.user ?? ""} />;
}

const RETRY_MS = 2_000;

/** The page was loaded and the engine has gone since: it comes back by itself. */
function NoEngine({ error }: { readonly error: unknown }) {
  useEffect(() => {
    const timer = setInterval(() => void readSession(), RETRY_MS);
    return () => clearInterval(timer);
  }, []);
  return <div className="page"><h1>HMS-OPS</h1><ErrorNote title="The engine cannot be reached. Trying again by itself." error={error} /></div>;
}

function SignedIn() {
  const live = useMemo(() => createLive(new Client()), []);
  useEffect(() => () => live.close(), [live]);
  return (
    <OpsProvider live={live}>
      <Boundary what="The connection’s keeper"><Keeper /><Teller /></Boundary>
      <Frame />
      <Announcer />
    </OpsProvider>
  );
}

type Over = "palette" | "keys" | null;

function Frame() {
  const page = usePage();
  const [wall] = useParameter("wall");
  const [over, setOver] = useState<Over>(null);
  const [isMenuOpen, setMenuOpen] = useState(false);
  const shortcuts = useMemo<readonly Shortcut[]>(() => shortcutsOf(pages, { palette: () => setOver("palette"), keys: () => setOver("keys") }), []);
  const openPalette = useCallback(() => setOver("palette"), []);
  const close = useCallback(() => setOver(null), []);
  useShortcuts(shortcuts, openPalette);
  useKeptFocus();
  const isWall = wall === "1";
  useNewPage(page);
  return (
    <div className={isWall ? "frame is-wall" : "frame"}>
      <a className="skip" href="#main" onClick={(event) => (event.preventDefault(), goTo("main"))}>Skip to the content</a>
      {!isWall && <Bar isMenuOpen={isMenuOpen} onMenu={() => setMenuOpen(!isMenuOpen)} onPalette={openPalette} onKeys={() => setOver("keys")} />}
      {!isWall && <Navigation isOpen={isMenuOpen} onGo={() => setMenuOpen(false)} />}
      <main id="main" tabIndex={-1} aria-labelledby="page-title">
        <Banner />
        <Boundary what="This page" resetKey={page}><Outlet path={page} /></Boundary>
      </main>
      {over === "palette" && <Palette onClose={close} />}
      {over === "keys" && <Keymap shortcuts={shortcuts} onClose={close} />}
    </div>
  );
}

/** Another page: from its top, and the focus on its content, as with a page that is loaded. */
function useNewPage(page: string): void {
  const before = useRef(page);
  useEffect(() => {
    if (before.current === page) return;
    before.current = page;
    window.scrollTo(0, 0);
    goTo("main");
  }, [page]);
}
