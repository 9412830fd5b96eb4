/** Live pieces for portals: hooks, charts, lights, lists. Bring `style.css` along. */
export { OpsProvider, useLive, type OpsProviderProps } from "./provider.js";
export { useAlerts, useCells, useLiveState, useMetric } from "./hooks.js";
export { useQueries, useQuery, type Asked, type QueryOptions } from "./query.js";
export { MetricChart, type MetricChartProps } from "./metric-chart.js";
export type { Anomaly, Threshold } from "./chart/plot.js";
export { StatusLight, type LightState, type StatusLightProps } from "./status-light.js";
export { AlertList, type AlertListProps } from "./alert-list.js";
export * from "./format.js";
