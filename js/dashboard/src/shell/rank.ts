/** What the go-to palette finds, best first: pure. */

export interface Goal {
  readonly text: string;
  readonly kind: "page" | "metric" | "alert" | "dashboard" | "command";
  readonly note: string;
  readonly href: string;
}

export const FOUND_MAX = 40;

/**
 * How well `query` fits `text`; null when it does not. The letters must come in order; a hit at the start of a word and
 * letters in one piece count more, and a shorter text wins among equals. Both in lower case.
 */
export function score(query: string, text: string): number | null {
  if (!query) return 0;
  const whole = text.indexOf(query);
  if (whole >= 0) return 1000 - Math.min(whole, 200) + (isStart(text, whole) ? 300 : 0) + (text.length === query.length ? 500 : 0) - text.length / 100;
  let sum = 0;
  let at = -1;
  for (const letter of query) {
    if (letter === " ") continue;
    const next = text.indexOf(letter, at + 1);
    if (next < 0) return null;
    sum += next === at + 1 ? 12 : isStart(text, next) ? 9 : 1;
    at = next;
  }
  return sum - text.length / 100;
}

const isStart = (text: string, at: number): boolean => at === 0 || /[\s._\-/:]/.test(text[at - 1] ?? "");

/** Pages and boards come before metrics of the same fit: there are few of them. */
const WEIGHT: Readonly<Record<Goal["kind"], number>> = { page: 60, alert: 40, dashboard: 50, command: 30, metric: 0 };

export function rank(goals: readonly Goal[], query: string, limit = FOUND_MAX): readonly Goal[] {
  const text = query.trim().toLowerCase();
  if (!text) return goals.filter((goal) => goal.kind !== "metric").slice(0, limit);
  const found: { goal: Goal; points: number }[] = [];
  for (const goal of goals) {
    const points = score(text, goal.text.toLowerCase());
    if (points !== null) found.push({ goal, points: points + WEIGHT[goal.kind] });
  }
  return found.sort((a, b) => b.points - a.points || a.goal.text.localeCompare(b.goal.text)).slice(0, limit).map(({ goal }) => goal);
}
