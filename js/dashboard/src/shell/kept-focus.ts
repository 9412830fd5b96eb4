/**
 * A button that takes itself away, such as "Show 12 more" at the end, must not throw who uses a keyboard back to the top
 * of the page: the focus goes to the nearest place around it that is still there.
 */

import { useEffect } from "react";

/** Until what a click has changed is drawn, the answers of dialogs included. */
const DRAWN_MS = 150;

export function useKeptFocus(): void {
  useEffect(() => {
    const clicked = ({ target }: MouseEvent): void => {
      if (!(target instanceof Element) || !target.closest("button, a")) return;
      const around = placesAround(target);
      setTimeout(() => document.activeElement === document.body && give(around), DRAWN_MS);
    };
    document.addEventListener("click", clicked, true);
    return () => document.removeEventListener("click", clicked, true);
  }, []);
}

function placesAround(element: Element): readonly HTMLElement[] {
  const found: HTMLElement[] = [];
  for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) found.push(at);
  return found;
}

/** To the nearest place with a meaning: a screen reader and the next Tab go on from there. */
function give(around: readonly HTMLElement[]): void {
  const place = around.find((one) => one.isConnected && one.matches("figure, section, dialog, main, .table-box, .toolbar")) ?? document.getElementById("main");
  if (!place) return;
  if (!place.hasAttribute("tabindex")) place.setAttribute("tabindex", "-1");
  place.focus({ preventScroll: true });
}
