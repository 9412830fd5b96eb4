/** The bricks of HMS-OPS under the name that portals of micro-frontends import them by. */
export { AlertList, MetricChart, StatusLight } from "@hms-ops/react";
export type { AlertListProps, MetricChartProps, StatusLightProps } from "@hms-ops/react";
