/** The pages that are loaded when one of them is first gone to, by their path. */

export { default as about } from "./about";
export { default as alerts } from "./alerts";
export { default as anomalies } from "./anomalies";
export { default as audit } from "./audit";
export { default as cardinality } from "./cardinality";
export { default as dashboard } from "./dashboard";
export { default as dashboards } from "./dashboards";
export { default as deliveries } from "./deliveries";
export { default as healing } from "./healing";
export { default as ledger } from "./ledger";
export { default as metric } from "./metric";
export { default as slos } from "./slos";
