/** Which rules read a metric, found in their expressions: pure. */

import type { LightState } from "../kit/marks";

export interface RuleText {
  readonly alert: string;
  readonly if: string;
}

/** A name in an expression: not a function (followed by a parenthesis), not inside quotes. */
const QUOTED = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g;
const NAME = /(?<![\w.])[A-Za-z_][\w.:/-]*(?!\w*\s*\()/g;

export function namesIn(expression: string): readonly string[] {
  return expression.replace(QUOTED, '""').match(NAME) ?? [];
}

/** Metric → names of the rules that read it. */
export function readers(rules: readonly RuleText[]): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const rule of rules) {
    for (const name of new Set(namesIn(rule.if))) {
      const known = found.get(name);
      if (known) known.push(rule.alert);
      else found.set(name, [rule.alert]);
    }
  }
  return found;
}

export interface AlertLook {
  readonly name: string;
  readonly state: string;
}

/** The light of each metric: what the worst rule that reads it says; "off" where none does. */
export function lightsOf(rules: readonly RuleText[], alerts: readonly AlertLook[]): (metric: string) => LightState {
  const reading = readers(rules);
  const names = new Set(rules.map((rule) => rule.alert));
  const bad = new Set(alerts.filter((alert) => alert.state === "firing").map((alert) => alert.name));
  const warn = new Set(alerts.filter((alert) => alert.state === "pending").map((alert) => alert.name));
  return (metric) => {
    const own = names.has(metric) || bad.has(metric) ? [metric] : (reading.get(metric) ?? []);
    if (!own.length) return "off";
    if (own.some((name) => bad.has(name))) return "bad";
    return own.some((name) => warn.has(name)) ? "warn" : "good";
  };
}
