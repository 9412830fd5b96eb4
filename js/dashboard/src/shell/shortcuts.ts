/** What the keys do: the same on every page. */

import { go, change, route } from "../router";
import type { PageEntry } from "../pages";
import type { Shortcut } from "./keys";
import { paused, setPaused } from "./state";
import { nextTheme, setTheme, themes } from "./theme";
import { announce } from "../kit/announce";

export function shortcutsOf(pages: readonly PageEntry[], open: { readonly palette: () => void; readonly keys: () => void }): readonly Shortcut[] {
  return [
    { keys: "/", does: "Go to anything", run: open.palette },
    { keys: "?", does: "This keyboard map", run: open.keys },
    { keys: "f", does: "Filter what the page lists", run: focusFilter },
    { keys: "p", does: "Pause and resume live data", run: () => setPaused(!paused()) },
    { keys: "w", does: "The wall: full screen, nothing but values", run: toggleWall },
    { keys: "t", does: "Other colours", run: otherTheme },
    ...pages.filter((page) => page.key).map((page) => ({ keys: `g ${page.key}`, does: `Go to ${page.title}`, run: () => go(page.path) })),
  ];
}

/** A page marks its filter with `data-filter`. */
function focusFilter(): void {
  const field = document.querySelector<HTMLInputElement>("main [data-filter]");
  field?.focus();
  field?.select();
}

function otherTheme(): void {
  const next = nextTheme();
  setTheme(next);
  announce(`Colours: ${themes.find(([name]) => name === next)?.[1] ?? next}`);
}

/** Full screen where the browser grants it; the wall is one without too. */
export function toggleWall(): void {
  const here = route();
  if (here.page !== "") return go("", { wall: 1 });
  const isWall = here.parameters["wall"] === "1";
  change({ wall: isWall ? null : 1 }, true);
  if (isWall && document.fullscreenElement) void document.exitFullscreen().catch(() => undefined);
  if (!isWall) void document.documentElement.requestFullscreen?.().catch(() => undefined);
}

export function goTo(id: string): void {
  document.getElementById(id)?.focus({ preventScroll: true });
}
