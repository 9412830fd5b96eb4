/** Colours and type of a chart, as style sheets have them where it stands; and word when they may have changed. */
import { COLOURS } from "./marks.js";

const NAMES = ["ink-soft", "grid", "ground", "warn", "bad", "anomaly"] as const;
type Name = (typeof NAMES)[number];

export interface Theme extends Readonly<Record<Name, string>> {
  readonly lines: readonly string[];
  /** The first line's, see-through. */
  readonly band: string;
  /** In CSS pixels, so that larger text is larger here too. */
  readonly fontSize: number;
  readonly fontFamily: string;
}

/** Read through a property that takes colours: so `var()`, `light-dark()` and system colours come out as the canvas takes them. */
export function readTheme(host: HTMLElement): Theme {
  const probe = host.appendChild(document.createElement("i"));
  probe.hidden = true;
  const computed = (colour: string): string => {
    probe.style.color = colour;
    return getComputedStyle(probe).color;
  };
  const colour = (name: string): string => computed(`var(--ops-${name})`);
  const { fontSize, fontFamily } = getComputedStyle(host);
  const theme = {
    ...Object.fromEntries(NAMES.map((name) => [name, colour(name)])) as Record<Name, string>,
    lines: Array.from({ length: COLOURS }, (_, line) => colour(`line-${line + 1}`)),
    band: computed("color-mix(in srgb, var(--ops-line-1) 18%, transparent)"),
    fontSize: parseFloat(fontSize), fontFamily,
  };
  probe.remove();
  return theme;
}

const QUERIES = ["(prefers-color-scheme: dark)", "(prefers-contrast: more)", "(forced-colors: active)"];

/** Call when a theme may have changed: the page's attributes, or what the reader's system prefers. Returns the end. */
export function onThemeChange(changed: () => void): () => void {
  const attributes = new MutationObserver(changed);
  for (const element of [document.documentElement, document.body]) {
    attributes.observe(element, { attributes: true }); // a portal's theme may be in any
  }
  const queries = QUERIES.map((query) => matchMedia(query));
  for (const query of queries) query.addEventListener("change", changed);
  return () => {
    attributes.disconnect();
    for (const query of queries) query.removeEventListener("change", changed);
  };
}
