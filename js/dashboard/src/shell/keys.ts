/**
 * The keyboard map. Ctrl/Cmd+K always opens the palette; keys without a modifier can be switched off (WCAG 2.1.4), and
 * do nothing while someone types.
 */

import { useEffect, useSyncExternalStore } from "react";

export interface Shortcut {
  /** As it is pressed: "?", "g a". */
  readonly keys: string;
  readonly does: string;
  readonly run: () => void;
}

const STORED = "hms-ops.keys";
export const CHORD_MS = 1_500;
const listeners = new Set<() => void>();
let isOn = kept();

function kept(): boolean {
  try {
    return localStorage.getItem(STORED) !== "off";
  } catch {
    return true;
  }
}

export function setKeysOn(on: boolean): void {
  isOn = on;
  try {
    localStorage.setItem(STORED, on ? "on" : "off");
  } catch {
    // not kept
  }
  for (const changed of [...listeners]) changed();
}

function subscribe(changed: () => void): () => void {
  listeners.add(changed);
  return () => listeners.delete(changed);
}

export const useKeysOn = (): boolean => useSyncExternalStore(subscribe, () => isOn);

/** Whether keys go to a field: there they are text. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLInputElement && !["checkbox", "radio", "button"].includes(target.type);
}

/** What a key means after `before` ("" or the first key of a chord): the shortcut, or that a chord has begun. */
export function meaning(shortcuts: readonly Shortcut[], before: string, key: string): Shortcut | "chord" | null {
  const pressed = before ? `${before} ${key}` : key;
  const found = shortcuts.find((shortcut) => shortcut.keys === pressed);
  if (found) return found;
  return !before && shortcuts.some((shortcut) => shortcut.keys.startsWith(`${key} `)) ? "chord" : null;
}

export function useShortcuts(shortcuts: readonly Shortcut[], openPalette: () => void): void {
  useEffect(() => {
    let before = "";
    let timer: ReturnType<typeof setTimeout> | undefined;
    const press = (event: KeyboardEvent): void => {
      if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
        event.preventDefault();
        return openPalette();
      }
      if (!isOn || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target) || document.querySelector("dialog[open]")) return;
      const found = meaning(shortcuts, before, event.key);
      clearTimeout(timer);
      before = found === "chord" ? event.key : "";
      if (found === "chord") timer = setTimeout(() => (before = ""), CHORD_MS);
      else if (found) (event.preventDefault(), found.run());
    };
    document.addEventListener("keydown", press);
    return () => (clearTimeout(timer), document.removeEventListener("keydown", press));
  }, [shortcuts, openPalette]);
}
