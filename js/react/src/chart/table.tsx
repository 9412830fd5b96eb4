/** A chart's samples as a table, newest first. */
import { useId } from "react";
import { formatMoment, formatValue } from "../format.js";
import type { Line } from "./lines.js";
import type { Anomaly } from "./plot.js";
import { namesAt, samplesOf, type Window } from "./reading.js";

export const ROWS_MAX = 200;

interface SampleTableProps {
  title: string;
  lines: readonly Line[];
  unit: string;
  window: Window;
  anomalies: readonly Anomaly[];
}

export function SampleTable({ title, lines, unit, window, anomalies }: SampleTableProps) {
  const id = useId();
  const times = timesOf(lines, window), rows = times.slice(0, ROWS_MAX);
  const hasNotes = rows.some((time) => namesAt(time, anomalies).length);
  return (
    <div className="ops-table-box" tabIndex={0} role="region" aria-labelledby={id}>
      <table className="ops-table">
        <caption id={id}>{title}, newest first</caption>
        <thead>
          <tr>
            <th scope="col">Time</th>
            {lines.map(({ key, name }) => <th key={key} scope="col">{lines.length > 1 ? name : "Value"}</th>)}
            {hasNotes && <th scope="col">Anomaly</th>}
          </tr>
        </thead>
        <tbody>
          {rows.map((time) => (
            <tr key={time}>
              <th scope="row">{formatMoment(time)}</th>
              {lines.map((line) => <td key={line.key}>{formatValue(line.values[line.times.indexOf(time)], unit)}</td>)}
              {hasNotes && <td>{namesAt(time, anomalies).join(", ")}</td>}
            </tr>
          ))}
        </tbody>
      </table>
      {times.length > ROWS_MAX && <p className="ops-note">{times.length - ROWS_MAX} older samples.</p>}
    </div>
  );
}

/** The times of which any line has a sample, newest first. */
const timesOf = (lines: readonly Line[], window: Window): number[] =>
  [...new Set(lines.flatMap((line) => samplesOf(line, window).map(({ time }) => time)))].sort((a, b) => b - a);
