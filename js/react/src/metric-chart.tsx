/**
 * A chart that everybody can read: a named, focusable figure with the value as text, lines told apart by dash and shape
 * as well as colour, a cursor that keys move and that is read out, a summary in words, and the same as a table.
 */
import { useId, useMemo, useState, type KeyboardEvent } from "react";
import type { Kind } from "@hms-ops/client";
import { formatDuration, formatValue, formatWithin, isoOf } from "./format.js";
import { Legend } from "./chart/legend.js";
import { aligned, LINES_MAX, type Line } from "./chart/lines.js";
import type { Anomaly, Threshold } from "./chart/plot.js";
import { moved, spoken, summaryOf, kept, samplesOf, valueAt, type Cursor, type Window } from "./chart/reading.js";
import { useSource } from "./chart/source.js";
import { SampleTable } from "./chart/table.js";
import { usePlot } from "./chart/use-plot.js";
import { useReducedMotion, useSaid, useSlowly, useZoom } from "./chart/use-state.js";

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
const CALM_EVERY_SECONDS = 5;
const HINT = "Arrow keys read samples, Page Up and Page Down change the line, plus, minus and 0 zoom, Escape leaves.";

export function MetricChart(props: MetricChartProps) {
  const { metric, exprs, unit = "", height = 160, anomalies = NONE, thresholds = NONE, syncKey, paused } = props;
  const title = props.title ?? metric ?? exprs?.join(", ") ?? "Chart";
  const id = useId(), isCalm = useReducedMotion();
  const [isStopped, stop] = useState(false), [isTable, showTable] = useState(false);
  const [hidden, hide] = useState<ReadonlySet<string>>(new Set<string>());
  const [cursor, setCursor] = useState<Cursor | null>(null), [hover, setHover] = useState<number | null>(null);
  const [points, setPoints] = useState(300);
  const zoom = useZoom(props.from, props.to, props.onRange);
  const isPaused = paused ?? isStopped;
  const source = useSource({
    ...props, title, points, isPaused, zoomed: zoom.window,
    every: props.every ?? (isCalm && !exprs ? CALM_EVERY_SECONDS : undefined),
  });
  const { window, error } = source;
  const all = useMemo(
    () => source.lines.slice(0, LINES_MAX),
    [source.lines],
  );
  const lines = useMemo(() => all.filter(({ key }) => !hidden.has(key)), [all, hidden]);
  const here = kept(cursor, lines, window);
  const at = isTable ? null : here?.time ?? hover;
  const summary = useSlowly(
    () => source.isLoading && !all.length ? `${title}: waiting for samples.` : summaryOf(title, lines, window, unit, anomalies, thresholds),
    [title, lines.map(({ key }) => key).join(), !samplesOfAny(lines), zoom.window?.from, zoom.window?.to].join(),
  );
  const [said, say] = useSaid();
  const host = usePlot(
    { lines: all.length, hasBand: all.length === 1 && !!all[0]!.low, isSwitch: all.every(isSwitch), unit, height, syncKey },
    {
      columns: useMemo(() => aligned(all), [all]), from: window.from, to: window.to,
      shown: all.map(({ key }) => !hidden.has(key)), anomalies, thresholds,
      pin: here && { time: here.time, value: valueAt(lines.find(({ key }) => key === here.line)!, here.time) },
    },
    {
      hover: setHover, moved: () => setCursor(null), reset: zoom.reset,
      zoom: (from, to) => zoom.set({ from, to }),
      resized: (width) => setPoints(width < 300 ? 150 : width < 900 ? 300 : 600),
    },
    isTable,
  );

  const onKeyDown = (event: KeyboardEvent<HTMLElement>): void => {
    if (event.target !== event.currentTarget || isTable || event.ctrlKey || event.metaKey || event.altKey) return;
    const isHandled = zoom.key(event.key, window, here?.time) || move(event.key, event.shiftKey);
    if (isHandled) event.preventDefault();
  };
  const move = (key: string, isFar: boolean): boolean => {
    const next = moved(key, isFar, lines, window, here);
    if (next === undefined || (next === null && !here)) return false;
    if (next && here && next.time === here.time && next.line === here.line) zoom.pan(key, window);
    setCursor(next);
    say(next ? spoken(next, lines, window, unit, anomalies) : "");
    return true;
  };

  return (
    <figure
      className="ops-chart" tabIndex={0} aria-labelledby={`${id}t`} aria-describedby={`${id}s ${id}h`}
      onKeyDown={onKeyDown} onFocus={summary.refresh} onBlur={(event) => event.target === event.currentTarget && setCursor(null)}
    >
      <figcaption className="ops-chart-head">
        <span id={`${id}t`} className="ops-chart-title">{title}</span>
        <Reading lines={lines} at={at} unit={unit} span={window.to - window.from} />
      </figcaption>
      {error && <p className="ops-chart-error">Not up to date: {error}</p>}
      {isTable
        ? <SampleTable title={title} lines={lines} unit={unit} window={window} anomalies={anomalies} />
        : (
          <div className="ops-plot-box">
            <div className="ops-plot" ref={host} aria-hidden="true" />
            {!all.length && <Empty source={source} />}
          </div>
        )}
      {all.length > 1 && <Legend lines={all} hidden={hidden} toggle={(key) => hide((was) => toggled(was, key))} at={at} unit={unit} />}
      {source.lines.length > LINES_MAX && <p className="ops-note">{LINES_MAX} of {source.lines.length} lines are shown.</p>}
      <p id={`${id}s`} className="ops-hidden">{summary.text}</p>
      <p id={`${id}h`} className="ops-hidden">{HINT}</p>
      <p className="ops-hidden" aria-live="polite" aria-atomic="true">{said}</p>
      <div className="ops-chart-tools">
        {(zoom.window || (props.onRange && props.from != null)) && <button type="button" onClick={zoom.reset}>Reset zoom</button>}
        {paused === undefined && props.from === undefined && (
          <button type="button" aria-pressed={isStopped} onClick={() => stop(!isStopped)}>Pause</button>
        )}
        <button type="button" onClick={() => showTable(!isTable)}>{isTable ? "View as chart" : "View as table"}</button>
      </div>
    </figure>
  );
}

const samplesOfAny = (lines: readonly Line[]): boolean => lines.some(({ values }) => values.some((value) => value != null));

const isSwitch = ({ values }: Line): boolean => values.every((value) => !value || value === 1);

function toggled(keys: ReadonlySet<string>, key: string): ReadonlySet<string> {
  const next = new Set(keys);
  if (!next.delete(key)) next.add(key);
  return next;
}

function Empty({ source: { isLoading, window } }: { source: { isLoading: boolean; window: Window } }) {
  return <p className="ops-empty">{isLoading ? "Waiting for samples" : `No samples in ${formatDuration(window.to - window.from)}`}</p>;
}

/** The value of a single line, now or under the cursor; of several, the cursor's time: their values stand in the legend. */
function Reading({ lines, at, unit, span }: { lines: readonly Line[]; at: number | null; unit: string; span: number }) {
  const [only] = lines;
  const last = lines.length === 1 && only ? samplesOf(only, { from: -Infinity, to: Infinity }).at(-1)?.value : null;
  return (
    <span className="ops-chart-value">
      {at != null && <time dateTime={isoOf(at)} title={isoOf(at)}>{formatWithin(at, span)}</time>}
      {lines.length === 1 && only && <strong>{formatValue(at == null ? last : valueAt(only, at), unit)}</strong>}
    </span>
  );
}
