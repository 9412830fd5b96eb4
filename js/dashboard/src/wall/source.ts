/** Where the wall's metrics come from: the list of all, read again every few seconds; new ones are there by themselves. */

import type { Metric } from "./arrange";

export const METRICS_PATH = "/v1/metrics?limit=20000";
export const METRICS_EVERY_SECONDS = 5;

export interface MetricsAnswer {
  readonly metrics: readonly Metric[];
  readonly is_complete: boolean;
}

const NONE: readonly Metric[] = [];

export const metricsOf = (answer: MetricsAnswer | null): readonly Metric[] => answer?.metrics ?? NONE;
