/**
 * A chart that everybody can read: a named, focusable figure with the value as text, lines told apart by dash and shape
 * as well as colour, a cursor that keys move and that is read out, a summary in words, and the same as a table.
 */
import { useId, useMemo, useReducer, useState, type ReactNode } from "react";
import type { Kind } from "@hms-ops/client";
import { visible } from "@hms-ops/core";
import { formatValue, formatWithin } from "./format.js";
import { Legend } from "./chart/legend.js";
import { aligned, LINES_MAX, type Line } from "./chart/lines.js";
import type { Anomaly, Threshold } from "./chart/plot.js";
import { summaryOf, valueAt, type Window } from "./chart/reading.js";
import { useSource, type Source } from "./chart/source.js";
import { SampleTable } from "./chart/table.js";
import { usePlot } from "./chart/use-plot.js";
import { useReader, type Reader } from "./chart/use-reader.js";
import { useReducedMotion, useSlowly, useZoom } from "./chart/use-state.js";

export interface MetricChartProps {
  /** One metric, live from the stream, pooled over its series; or `exprs`, asked again every few seconds. */
  metric?: string | undefined;
  exprs?: readonly string[] | undefined;
  /** The metric's, where it is known: what history is asked for a counter is its rate. */
  kind?: Kind | undefined;
  unit?: string | undefined;
  title?: string | undefined;
  /** The live window, 60; or `range`: the same with history in front of what the stream has. */
  seconds?: number | undefined;
  range?: number | undefined;
  /** Unix seconds: history that stands still. */
  from?: number | undefined;
  to?: number | undefined;
  /** The reader has zoomed or panned; null is back to where it began. */
  onRange?: ((range: Window | null) => void) | undefined;
  /** Seconds between updates: 1, or 5 for readers who prefer less motion; exprs 10. */
  every?: number | undefined;
  /** Of the plot, in pixels. */
  height?: number | undefined;
  anomalies?: readonly Anomaly[] | undefined;
  thresholds?: readonly Threshold[] | undefined;
  /** Charts of one key share their cursor. */
  syncKey?: string | undefined;
  /** Stands still. Without it the chart has a button of its own. */
  paused?: boolean | undefined;
}

const NONE: readonly never[] = [];
const NO_KEYS: ReadonlySet<string> = new Set<string>();
const CALM_EVERY_SECONDS = 5;
const HINT = "Arrow keys read samples, Page Up and Down lines, + and - zoom.";

export function MetricChart(props: MetricChartProps) {
  const { metric, exprs, from, unit = "", height = 160, anomalies = NONE, thresholds = NONE, syncKey, onRange, paused } = props;
  const title = visible(props.title ?? metric ?? exprs?.join(", ") ?? "Chart");
  const id = useId(), isCalm = useReducedMotion();
  const [isStopped, stop] = useState(false), [isTable, showTable] = useState(false), [points, setPoints] = useState(300);
  const [hidden, toggle] = useReducer(toggled, NO_KEYS);
  const zoom = useZoom(from, props.to, onRange);
  const every = props.every ?? (isCalm && !exprs ? CALM_EVERY_SECONDS : undefined);
  const source = useSource({ ...props, title, points, isPaused: paused ?? isStopped, zoomed: zoom.window, every });
  const { window } = source;
  const all = useMemo(() => source.lines.slice(0, LINES_MAX), [source.lines]);
  const lines = useMemo(() => all.filter(({ key }) => !hidden.has(key)), [all, hidden]);
  const reader = useReader(lines, window, unit, anomalies, zoom);
  const columns = useMemo(() => aligned(all), [all]);
  const host = usePlot(
    { lines: all.length, hasBand: columns.length > all.length + 1, isSwitch: all.every(isSwitch), unit, height, syncKey },
    { ...window, columns, shown: all.map(({ key }) => !hidden.has(key)), anomalies, thresholds, pin: reader.pin },
    {
      hover: reader.hover, moved: reader.leave, reset: zoom.reset, zoom: (from, to) => zoom.set({ from, to }),
      resized: (width) => setPoints(width < 900 ? 300 : 600),
    },
    isTable,
  );
  const at = isTable ? null : reader.at;
  return (
    <Figure id={id} title={title} source={source}
      about={JSON.stringify([zoom.window, lines.map((line) => line.key + (valueAt(line, window.to) == null))])}
      write={() => summaryOf(title, lines, window, unit, anomalies, thresholds)} reading={<Reading lines={lines} at={at} unit={unit} window={window} />} reader={reader}>
      {isTable
        ? <SampleTable title={title} lines={lines} unit={unit} window={window} anomalies={anomalies} />
        : (
          <div className="ops-plot-box" tabIndex={0} role="application" aria-roledescription="chart" aria-labelledby={`${id}t`} aria-describedby={`${id}s ${id}h`}>
            <div className="ops-plot" ref={host} aria-hidden="true" />
            {!all.length && <p className="ops-empty">{source.isLoading ? "Waiting for samples" : "No samples"}</p>}
          </div>
        )}
      {all.length > 1 && <Legend lines={all} hidden={hidden} toggle={toggle} at={at} unit={unit} />}
      <div className="ops-chart-tools">
        {(zoom.window || (onRange && from != null)) && <button type="button" onClick={zoom.reset}>Reset zoom</button>}
        {paused == null && from == null && <button type="button" aria-pressed={isStopped} onClick={() => stop(!isStopped)}>Pause</button>}
        <button type="button" onClick={() => showTable(!isTable)}>{isTable ? "View as chart" : "View as table"}</button>
      </div>
    </Figure>
  );
}

interface FigureProps {
  id: string;
  title: string;
  source: Source;
  /** What the summary is about: when that changes, it is written at once. */
  about: string;
  write: () => string;
  reading: ReactNode;
  reader: Reader;
  children: ReactNode;
}

/**
 * What assistive technology meets: the named figure, its summary, and what is said of the cursor. Tab stops at the plot, an
 * application: screen readers that read a page by arrow keys give these to an application only.
 */
function Figure({ id, title, source, about, write, reading, reader, children }: FigureProps) {
  const isWaiting = source.isLoading && !source.lines.length;
  const summary = useSlowly(() => (isWaiting ? `${title}: Waiting for samples` : write()), about + isWaiting);
  return (
    <figure className="ops-chart" tabIndex={-1} aria-labelledby={`${id}t`}
      onKeyDown={reader.onKeyDown} onFocus={summary.refresh} onBlur={reader.leave}>
      <figcaption className="ops-chart-head"><span id={`${id}t`} className="ops-chart-title">{title}</span>{reading}</figcaption>
      {source.error && <p className="ops-chart-error">Out of date: {source.error}</p>}
      {children}
      {source.lines.length > LINES_MAX && <p className="ops-note">{LINES_MAX} of {source.lines.length} lines</p>}
      <p id={`${id}s`} className="ops-hidden">{summary.text}</p>
      <p id={`${id}h`} className="ops-hidden">{HINT}</p>
      <p className="ops-hidden" aria-live="polite">{reader.said}</p>
    </figure>
  );
}

const isSwitch = ({ values }: Line): boolean => values.every((value) => !value || value === 1);

function toggled(keys: ReadonlySet<string>, key: string): ReadonlySet<string> {
  const next = new Set(keys);
  if (!next.delete(key)) next.add(key);
  return next;
}

/** The value of a single line, now or under the cursor; of several, the cursor's time: their values stand in the legend. */
function Reading({ lines, at, unit, window }: { lines: readonly Line[]; at: number | null; unit: string; window: Window }) {
  return (
    <span className="ops-chart-value">
      {at != null && <span>{formatWithin(at, window.to - window.from)}</span>}
      {lines.length === 1 && <strong>{formatValue(valueAt(lines[0]!, at ?? window.to), unit)}</strong>}
    </span>
  );
}
