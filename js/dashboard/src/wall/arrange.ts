/** Which metrics the wall shows, in which groups and order: pure, and quick enough for 20,000 at each key pressed. */

import type { LightState } from "../kit/marks";

export interface Metric {
  readonly metric: string;
  readonly kind: string;
  readonly unit: string;
  readonly help: string;
  readonly series: number;
  readonly rule: boolean;
  readonly value: number | null;
}

export interface Group {
  /** The name's part before the first dot. */
  readonly prefix: string;
  readonly metrics: readonly Metric[];
}

export type Sort = "name" | "state" | "value" | "series";

export const sorts: readonly (readonly [Sort, string])[] = [
  ["name", "Name"],
  ["state", "State, worst first"],
  ["value", "Value, highest first"],
  ["series", "Most series first"],
];

export const UNGROUPED = "other";

export function prefixOf(name: string): string {
  const dot = name.indexOf(".");
  return dot > 0 ? name.slice(0, dot) : UNGROUPED;
}

/** The rest of the name, which a tile shows below its group's heading. */
export function shortName(name: string): string {
  const dot = name.indexOf(".");
  return dot > 0 && dot < name.length - 1 ? name.slice(dot + 1) : name;
}

export type Test = (metric: Metric) => boolean;

/** Words that must all be in the name; `kind:timer`, `unit:ms`, `is:rule`, `is:silent` and a leading `-` for not. */
export function filterOf(text: string): Test {
  const tests = text.trim().toLowerCase().split(/\s+/).filter(Boolean).map(testOf);
  return (metric) => tests.every((test) => test(metric));
}

function testOf(word: string): Test {
  if (word.length > 1 && word.startsWith("-")) {
    const not = testOf(word.slice(1));
    return (metric) => !not(metric);
  }
  const [field, value = ""] = word.split(":", 2);
  if (field === "kind" && value) return (metric) => metric.kind.startsWith(value);
  if (field === "unit" && value) return (metric) => metric.unit.toLowerCase().startsWith(value);
  if (word === "is:rule") return (metric) => metric.rule;
  if (word === "is:silent") return (metric) => metric.series === 0; // known from disk, nothing in memory
  return (metric) => lowered(metric.metric).includes(word);
}

/** Lower-case names, kept: a filter looks at each of them at each key. */
const lower = new Map<string, string>();
const LOWER_MAX = 50_000;

function lowered(name: string): string {
  let text = lower.get(name);
  if (text === undefined) {
    if (lower.size > LOWER_MAX) lower.clear();
    lower.set(name, (text = name.toLowerCase()));
  }
  return text;
}

const URGENCY: Readonly<Record<LightState, number>> = { bad: 0, warn: 1, waiting: 2, good: 3, off: 4 };

/** `metrics` are in the order of their names, as the engine lists them. */
export function arrange(metrics: readonly Metric[], filter: string, sort: Sort, light: (name: string) => LightState): readonly Group[] {
  const test = filterOf(filter);
  const groups = new Map<string, Metric[]>();
  for (const metric of metrics) {
    if (!test(metric)) continue;
    const prefix = prefixOf(metric.metric);
    const group = groups.get(prefix);
    if (group) group.push(metric);
    else groups.set(prefix, [metric]);
  }
  const found = [...groups].map(([prefix, members]) => ({ prefix, metrics: ordered(members, sort, light) }));
  found.sort((a, b) => (a.prefix < b.prefix ? -1 : 1));
  return sort === "state" ? found.sort((a, b) => worst(a, light) - worst(b, light)) : found;
}

const worst = (group: Group, light: (name: string) => LightState): number =>
  group.metrics.reduce((least, metric) => Math.min(least, URGENCY[light(metric.metric)]), 9);

function ordered(metrics: Metric[], sort: Sort, light: (name: string) => LightState): readonly Metric[] {
  if (sort === "state") return metrics.sort((a, b) => URGENCY[light(a.metric)] - URGENCY[light(b.metric)]);
  if (sort === "series") return metrics.sort((a, b) => b.series - a.series);
  if (sort === "value") return metrics.sort((a, b) => (b.value ?? -Infinity) - (a.value ?? -Infinity));
  return metrics;
}

export const countOf = (groups: readonly Group[]): number => groups.reduce((sum, group) => sum + group.metrics.length, 0);
