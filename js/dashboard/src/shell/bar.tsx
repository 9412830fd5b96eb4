/** The bar at the top: which engine, how fresh, how many alerts, and what can be done anywhere. */

import { useAlerts, useLiveState } from "@hms-ops/react";
import { clockTime, span } from "../kit/format";
import { signOut, useSession } from "../kit/session";
import { link } from "../router";
import { isStale, type Fresh } from "./fresh";
import { setPaused, useFresh, usePaused } from "./state";
import { setTheme, themes, useTheme, type Theme } from "./theme";

export interface BarProps {
  readonly isMenuOpen: boolean;
  readonly onMenu: () => void;
  readonly onPalette: () => void;
  readonly onKeys: () => void;
}

export function Bar({ isMenuOpen, onMenu, onPalette, onKeys }: BarProps) {
  const { session } = useSession();
  const host = session?.host || location.host;
  return (
    <header className="bar">
      <button type="button" className="bar-button bar-menu" aria-expanded={isMenuOpen} aria-controls="navigation" onClick={onMenu}>
        <span aria-hidden="true">☰</span> Menu
      </button>
      <a className="brand" href="#/" aria-label="HMS-OPS, to the overview"><Mark /><span>HMS-OPS</span></a>
      <span className="host" title={session?.version ? `${host}, HMS-OPS ${session.version}` : host}>{host}</span>
      <Connection />
      <AlertCount />
      <div className={isMenuOpen ? "bar-tools is-open" : "bar-tools"}>
        <button type="button" className="bar-button" onClick={onPalette} aria-keyshortcuts="Control+K">Go to<kbd aria-hidden="true">Ctrl K</kbd></button>
        <PauseButton />
        <ThemeChoice />
        <button type="button" className="bar-button" onClick={onKeys} aria-label="Keyboard map"><span aria-hidden="true">?</span></button>
        {session?.expires != null && <button type="button" className="bar-button" title={session.user ? `Signed in as ${session.user}` : undefined} onClick={() => void signOut()}>Sign out</button>}
      </div>
    </header>
  );
}

export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path d="M3 18h6l3-9 6 16 3.5-9H29" />
    </svg>
  );
}

const SHAPES: Readonly<Record<Fresh["is"], string>> = { live: "●", connecting: "○", late: "▲", lost: "▲", paused: "❚❚" };

/** The state in words, and how old the newest second is. */
export function Connection() {
  const fresh = useFresh();
  const { second } = useLiveState();
  const age = fresh.age === null ? "" : fresh.age < 1 ? "under 1 s old" : `${span(Math.floor(fresh.age))} old`;
  return (
    <span className={`connection is-${fresh.is}`}>
      <span aria-hidden="true">{SHAPES[fresh.is]}</span>
      <span>{fresh.words}</span>
      {second !== null && <span className="connection-age"><time>{clockTime(second)}</time>{fresh.is === "live" ? `, ${age}` : ""}</span>}
    </span>
  );
}

function AlertCount() {
  const { alerts } = useAlerts();
  const firing = alerts.filter((alert) => alert.state === "firing").length;
  const pending = alerts.length - firing;
  const isOld = isStale(useFresh().is);
  const words = isOld ? `${firing} firing when last heard` : firing ? `${firing} firing` : pending ? `${pending} pending` : "None firing";
  const look = isOld ? "is-old" : firing ? "is-firing" : pending ? "is-pending" : "is-quiet";
  return (
    <a className={`alert-count ${look}`} href={link("alerts")}>
      <span aria-hidden="true">{isOld ? "○" : firing ? "▲" : pending ? "◆" : "●"}</span>
      <span className="unseen">Alerts: </span>
      <span>{words}</span>
    </a>
  );
}

function PauseButton() {
  const isPaused = usePaused();
  return (
    <button type="button" className={isPaused ? "bar-button is-on" : "bar-button"} onClick={() => setPaused(!isPaused)}>
      <span aria-hidden="true">{isPaused ? "▶" : "❚❚"}</span> {isPaused ? "Resume" : "Pause"}
    </button>
  );
}

function ThemeChoice() {
  const theme = useTheme();
  return (
    <label className="theme-choice">
      <span className="unseen">Colours</span>
      <select className="bar-button" value={theme} onChange={(event) => setTheme(event.currentTarget.value as Theme)}>
        {themes.map(([name, words]) => <option key={name} value={name}>{words}</option>)}
      </select>
    </label>
  );
}
