/** Where the wall's metrics come from: the list of all, read again every few seconds; new ones are there by themselves. */

import type { Metric } from "./arrange";

export const METRICS_PATH = "/v1/metrics?limit=20000";
export const METRICS_EVERY_SECONDS = 5;

export interface MetricsAnswer {
  readonly metrics: readonly Metric[];
  readonly is_complete: boolean;
}

const ENDS: readonly (readonly [string, string])[] = [["_ms", "ms"], ["_seconds", "s"], ["_bytes", "bytes"], ["_us", "us"], ["_ns", "ns"], ["_percent", "%"]];

/** The unit somebody has described, else the one the name ends in, as rules read it too. */
export function unitOf(metric: Pick<Metric, "metric" | "unit">): string {
  return metric.unit || (ENDS.find(([end]) => metric.metric.endsWith(end))?.[1] ?? "");
}

const read = new WeakMap<MetricsAnswer, readonly Metric[]>();
const NONE: readonly Metric[] = [];

/** The answer's metrics with their units: the same array for the same answer. */
export function metricsOf(answer: MetricsAnswer | null): readonly Metric[] {
  if (!answer) return NONE;
  let metrics = read.get(answer);
  if (!metrics) read.set(answer, (metrics = answer.metrics.map((metric) => ({ ...metric, unit: unitOf(metric) }))));
  return metrics;
}
