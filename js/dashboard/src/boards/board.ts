/** Dashboards of one's own as the engine reads them (/v1/dashboards), and what their numbers mean: pure. */

export interface BoardSummary {
  readonly name: string;
  readonly title: string;
  readonly panels: number;
  readonly source: string;
  readonly error: string | null;
}

export interface BoardsAnswer {
  readonly dashboards: readonly BoardSummary[];
  readonly editable: boolean;
}

export interface Panel {
  readonly title: string;
  readonly kind: "chart" | "number" | "light" | "table" | "alerts" | "text";
  readonly exprs: readonly string[];
  readonly metric: string | null;
  readonly unit: string;
  readonly range: number;
  readonly width: number;
  readonly good_below: number | null;
  readonly good_above: number | null;
  readonly alert: string | null;
  readonly text: string;
}

export interface Board {
  readonly name: string;
  readonly title: string;
  readonly columns: number;
  readonly panels: readonly Panel[];
  readonly text: string;
  readonly etag: string;
  readonly error?: string | null;
}

export interface LineProblem {
  readonly line: number;
  readonly message: string;
}

/** Whether a value is good; null where the panel does not say what is, or there is no value. */
export function isGood(panel: Pick<Panel, "good_below" | "good_above">, value: number | null): boolean | null {
  if (value === null || Number.isNaN(value) || (panel.good_below === null && panel.good_above === null)) return null;
  return (panel.good_below === null || value < panel.good_below) && (panel.good_above === null || value > panel.good_above);
}

/** "good below 200", for who reads the number. */
export function goodWords({ good_below, good_above }: Pick<Panel, "good_below" | "good_above">, write: (value: number) => string): string {
  const parts = [good_above === null ? "" : `above ${write(good_above)}`, good_below === null ? "" : `below ${write(good_below)}`].filter(Boolean);
  return parts.length ? `good ${parts.join(" and ")}` : "";
}

/** A name that a file can bear. */
export const isName = (name: string): boolean => /^[a-z0-9][a-z0-9._-]{0,63}$/i.test(name);

export const pathOf = (name: string): string => `/v1/dashboards/${encodeURIComponent(name)}`;

export const STARTER = `title: A board of mine
columns: 2
panels:
  - title: What one metric does, live
    metric: engine.tick_ms
    unit: ms
    range: 15m
  - title: What is wrong now
    kind: alerts
  - kind: text
    text: What to do when something is wrong stands in the runbook.
`;

/** Text in parts, addresses apart. */
export function linked(text: string): readonly { readonly text: string; readonly href: string | null }[] {
  return text.split(/(https?:\/\/[^\s<>"']+)/).filter(Boolean).map((part) => ({ text: part, href: /^https?:\/\//.test(part) ? part : null }));
}
