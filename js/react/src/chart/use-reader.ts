/** Where the reader is on a chart: by key, which is spoken, or by mouse. */
import { useState, type KeyboardEvent } from "react";
import type { Line } from "./lines.js";
import type { Anomaly, PlotView } from "./plot.js";
import { kept, moved, spoken, valueAt, type Cursor, type Window } from "./reading.js";
import { useSaid, type Zoom } from "./use-state.js";

export interface Reader {
  /** The time that is looked at. */
  readonly at: number | null;
  readonly pin: PlotView["pin"];
  readonly said: string;
  readonly hover: (time: number | null) => void;
  readonly leave: () => void;
  readonly onKeyDown: (event: KeyboardEvent<HTMLElement>) => void;
}

export function useReader(lines: readonly Line[], window: Window, unit: string, anomalies: readonly Anomaly[], zoom: Zoom): Reader {
  const [cursor, setCursor] = useState<Cursor | null>(null), [over, hover] = useState<number | null>(null);
  const [said, say] = useSaid();
  const here = kept(cursor, lines, window), line = here && lines.find(({ key }) => key === here.line);
  const move = (key: string, isFar: boolean): boolean => {
    const next = moved(key, isFar, lines, window, here);
    if (next === undefined || (next === null && !here)) return false;
    if (next && next.time === here?.time && next.line === here.line) zoom.pan(key, window);
    setCursor(next);
    say(next ? spoken(next, lines, window, unit, anomalies) : "");
    return true;
  };
  return {
    at: here?.time ?? over, pin: line ? { time: here.time, value: valueAt(line, here.time) } : null, said, hover,
    leave: () => setCursor(null),
    onKeyDown(event) {
      if (!(event.target as Element).matches("figure,.ops-plot-box") || event.ctrlKey || event.metaKey || event.altKey) return;
      if (zoom.key(event.key, window, here?.time) || move(event.key, event.shiftKey)) event.preventDefault();
    },
  };
}
