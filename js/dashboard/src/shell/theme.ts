/** Light, dark, high contrast, or as the system says; kept in this browser only. */

import { useSyncExternalStore } from "react";

export type Theme = "auto" | "light" | "dark" | "contrast";

export const themes: readonly (readonly [Theme, string])[] = [
  ["auto", "As the system"],
  ["light", "Light"],
  ["dark", "Dark"],
  ["contrast", "High contrast"],
];

const KEY = "hms-ops.theme";
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();
let theme: Theme = kept();

/** Storage may be refused: then the choice lasts as long as the page. */
function kept(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return themes.some(([name]) => name === value) ? (value as Theme) : "auto";
  } catch {
    return "auto";
  }
}

export function setTheme(next: Theme): void {
  theme = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // not kept
  }
  applyTheme();
  for (const changed of [...listeners]) changed();
}

export const nextTheme = (): Theme => themes[(themes.findIndex(([name]) => name === theme) + 1) % themes.length]?.[0] ?? "auto";

export function applyTheme(): void {
  document.documentElement.dataset["theme"] = theme === "auto" ? (dark.matches ? "dark" : "light") : theme;
}

dark.addEventListener("change", applyTheme);

function subscribe(changed: () => void): () => void {
  listeners.add(changed);
  return () => listeners.delete(changed);
}

export const useTheme = (): Theme => useSyncExternalStore(subscribe, () => theme);
