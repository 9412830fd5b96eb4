/**
 * Who uses a keyboard must not be thrown back to the top of the page by what the page does to itself. An element that is
 * moved (alerts change their order) loses the focus and gets it back; for one that is gone ("Show 12 more" at the end, the
 * button of a dialog whose answer took it away) the nearest place around it that is still there has it.
 */

import { useEffect } from "react";

/** Until what a click has changed is drawn, the answers of dialogs included. */
const DRAWN_MS = 150;

const PLACES = "[tabindex='-1'], figure, section, dialog, main, .table-box, .toolbar";

export function useKeptFocus(): void {
  useEffect(() => {
    let last: HTMLElement | null = null;
    let around: readonly HTMLElement[] = [];
    let behind: readonly HTMLElement[] = []; // a dialog stands elsewhere: once it is gone, what it was opened from counts
    const came = ({ target }: FocusEvent): void => {
      if (!(target instanceof HTMLElement)) return;
      last = target;
      around = placesAround(target);
      if (target.closest("dialog")) around = [...around, ...behind];
      else behind = around;
    };
    /** Who presses Tab, or the mouse, leaves it: before anything is drawn for that, or the page would hold them fast. */
    const left = (event: Event): void => {
      if (!(event instanceof KeyboardEvent) || event.key === "Tab") last = null;
    };
    const changed = (): void => {
      if (!last || !isLost()) return;
      if (last.isConnected) return last.focus({ preventScroll: true });
      last = null;
      setTimeout(() => isLost() && give(around), DRAWN_MS);
    };
    const seen = new MutationObserver(changed);
    seen.observe(document.body, { childList: true, subtree: true });
    document.addEventListener("focusin", came);
    document.addEventListener("keydown", left, true);
    document.addEventListener("pointerdown", left, true);
    return () => {
      seen.disconnect();
      document.removeEventListener("focusin", came);
      document.removeEventListener("keydown", left, true);
      document.removeEventListener("pointerdown", left, true);
    };
  }, []);
}

const isLost = (): boolean => document.activeElement === document.body || document.activeElement === null;

function placesAround(element: Element): readonly HTMLElement[] {
  const found: HTMLElement[] = [];
  for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) found.push(at);
  return found;
}

/** To the nearest place with a meaning: a screen reader and the next Tab go on from there. */
function give(around: readonly HTMLElement[]): void {
  const place = around.find((one) => one.isConnected && one.matches(PLACES)) ?? document.getElementById("main");
  if (!place) return;
  if (!place.hasAttribute("tabindex")) place.setAttribute("tabindex", "-1");
  place.focus({ preventScroll: true });
}
