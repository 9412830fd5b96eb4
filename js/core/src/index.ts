// Live metrics and alerts of an engine: the store that screens read, and functions that are called with what happens.
import { ops } from "@hms-ops/client";
import { callOnAlert, type AlertHandler, type OnAlertOptions } from "./onalert.js";
import { callOnMetric, type MetricHandler } from "./onmetric.js";
import { Store } from "./live.js";
import { Windows } from "./windows.js";

/** One store for all handlers; its stream is there while something is wanted of it, and keeps a Node process alive. */
let store: Store | undefined;
const handlersStore = (): Store => (store ??= new Store(ops, {}));
const windows = new Windows(handlersStore);

/** Call `handler(value, cell)` with each second of a metric, from now on. Returns a function that ends it. */
export const onMetric = (name: string, handler: MetricHandler): (() => void) => callOnMetric(handlersStore(), name, handler);

/** Call `handler(alert)` when the alert of that name fires ("*": any), or for the changes in `on`. Returns its end. */
export const onAlert = (name: string, handler: AlertHandler, options?: OnAlertOptions): (() => void) =>
  callOnAlert(handlersStore(), name, handler, options);

export const metric = {
  /** The mean of all samples in a window up to the newest second; NaN until it is known. Asking makes it be kept. */
  mean: (name: string, window: string): number => windows.mean(name, window),
  /** The newest second's value; NaN until one is known. */
  last: (name: string): number => windows.last(name),
};

/** End all handlers' stream; a process that has nothing else to do then ends. */
export function close(): void {
  store?.close();
  store = undefined;
  windows.clear();
}

// Scripts beside the engine's own (anomaly detectors, hooks) use `ops` as they use `console`.
if (!("ops" in globalThis)) Object.defineProperty(globalThis, "ops", { value: ops, configurable: true, writable: true });

export { ops };
export { counters, type CallCounters } from "./calling.js";
export { createLive, type Live, type LiveEvent, type LiveOptions, type LiveState, type WatchOptions } from "./live.js";
export type { AlertHandler, Change, OnAlertOptions } from "./onalert.js";
export type { MetricHandler } from "./onmetric.js";
export { beginning, visible } from "./plain.js";
