/**
 * Hash routes, `#/page?name=value`: the address holds the whole state of a page, so that it can be sent to somebody.
 *
 * What a person types into a filter replaces the address; what they go to (a page, a range) is a step they can go back.
 */

import { useCallback, useSyncExternalStore } from "react";

export type Parameters = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Route {
  /** "" is the wall. */
  readonly page: string;
  readonly parameters: Readonly<Record<string, string>>;
}

export function parse(hash: string): Route {
  const text = hash.replace(/^#?\/?/, "");
  const mark = text.indexOf("?");
  const page = mark < 0 ? text : text.slice(0, mark);
  const query = mark < 0 ? "" : text.slice(mark + 1);
  return { page: page.replace(/\/+$/, ""), parameters: Object.fromEntries(new URLSearchParams(query)) };
}

/** The address of a page; parameters that are null, undefined, false or "" are left out. */
export function link(page: string, parameters: Parameters = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== false && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return `#/${page}${text ? `?${text}` : ""}`;
}

const listeners = new Set<() => void>();
let known = "";
let current: Route = { page: "", parameters: {} };

function snapshot(): Route {
  const hash = location.hash;
  if (hash !== known) {
    known = hash;
    current = parse(hash);
  }
  return current;
}

function subscribe(changed: () => void): () => void {
  if (!listeners.size) window.addEventListener("hashchange", tell);
  listeners.add(changed);
  return () => {
    listeners.delete(changed);
    if (!listeners.size) window.removeEventListener("hashchange", tell);
  };
}

function tell(): void {
  for (const changed of [...listeners]) changed();
}

/** Where we are, outside of components. */
export const route = (): Route => snapshot();

/** Go to a page: a step in the browser's history. */
export function go(page: string, parameters: Parameters = {}): void {
  location.hash = link(page, parameters);
}

/** Change some parameters of this page and leave the others; `step` makes it one that Back undoes. */
export function change(parameters: Parameters, step = false): void {
  const here = snapshot();
  const address = link(here.page, { ...here.parameters, ...parameters });
  if (address === location.hash || (address === "#/" && location.hash === "")) return;
  if (step) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  tell();
}

export function useRoute(): Route {
  return useSyncExternalStore(subscribe, snapshot);
}

/** The page alone: does not render when parameters change. */
export const usePage = (): string => useSyncExternalStore(subscribe, () => snapshot().page);

/** A parameter of the address and how to change it; its preset is not written into the address. */
export function useParameter(name: string, preset = ""): [string, (value: string, step?: boolean) => void] {
  const value = useSyncExternalStore(subscribe, () => snapshot().parameters[name] ?? preset);
  const set = useCallback(
    (next: string, step = false) => change({ [name]: next === preset ? null : next }, step),
    [name, preset],
  );
  return [value, set];
}
