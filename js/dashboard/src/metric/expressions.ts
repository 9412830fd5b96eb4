/** Expressions of the alert language about one metric: pure. */

/** The name as an expression writes it: bare where it can be, else in quotes. */
export function quoted(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$/.test(name) ? name : `"${name.replace(/["\\]/g, "\\$&")}"`;
}

const STATS: Readonly<Record<string, string>> = { counter: "rate", gauge: "avg", timer: "avg", histogram: "avg", distribution: "avg", set: "count" };

export const statOf = (kind: string): string => STATS[kind] ?? "avg";

export const hasPercentiles = (kind: string): boolean => kind === "timer" || kind === "histogram" || kind === "distribution";

export const PERCENTILES = ["p50", "p95", "p99"] as const;

export const percentilesOf = (name: string): readonly string[] => PERCENTILES.map((part) => `${part}(${quoted(name)})`);

/** One line for each value of the tag. */
export const byTag = (name: string, kind: string, tag: string): string => `${statOf(kind)}(${quoted(name)}) GROUP BY ${quoted(tag)}`;

/** What is worth asking first. */
export const firstQuestion = (name: string, kind: string): string => `${statOf(kind)}(${quoted(name)})`;

/** Where a mistake is, as text with a caret under the column (1 is the first). */
export function caret(expression: string, line: number, column: number): readonly [string, string] {
  const text = expression.split("\n")[line - 1] ?? "";
  const at = Math.min(Math.max(1, column), text.length + 1);
  return [text, `${" ".repeat(at - 1)}^`];
}
