/** Where the wall's metrics come from: the list of all, read again every few seconds; new ones are there by themselves. */

export const METRICS_PATH = "/v1/metrics?limit=20000";
export const METRICS_EVERY_SECONDS = 5;
