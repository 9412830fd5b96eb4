// onMetric: a function that is called with each second of a metric.
import type { Cell } from "@hms-ops/client";
import { guarded } from "./calling.js";
import type { Store } from "./live.js";

/** value: the second's representative number (a counter's sum, a gauge's last, a timer's mean). */
export type MetricHandler = (value: number, cell: Cell) => unknown;

/** Call the handler with each second from now on that has samples, in their order, once each. Returns the end. */
export function callOnMetric(store: Store, name: string, handler: MetricHandler): () => void {
  const call = guarded(`onMetric(${JSON.stringify(name)})`, handler);
  let second = Math.floor(Date.now() / 1000) - 1; // the seconds before are sent as well, for charts
  return store.watch(name, () => {
    const cells = store.current(name);
    let at = cells.length;
    while (at && (cells[at - 1] as Cell).time > second) at--;
    for (const cell of cells.slice(at)) {
      second = cell.time;
      if (cell.value !== null) call(cell.value, cell);
    }
  });
}
