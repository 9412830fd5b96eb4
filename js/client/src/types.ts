/** What an engine says over HTTP, as docs/http.md describes it. Times are Unix seconds. */

export type Kind = "counter" | "gauge" | "timer" | "histogram" | "distribution" | "set" | "unknown";
export type Tags = Readonly<Record<string, string>>;
export type AlertState = "inactive" | "pending" | "firing" | "resolved";

/** One second of one series, or of all series of a metric together. */
export interface Cell {
  readonly metric: string;
  /** null when all series of the metric are pooled. */
  readonly tags: Tags | null;
  readonly kind: Kind;
  readonly time: number;
  /** The second's representative number: a counter's sum, a gauge's last, a timer's mean; of a rule 1 while it fires. */
  readonly value: number | null;
  readonly count: number;
  readonly sum: number;
  readonly min: number | null;
  readonly max: number | null;
  readonly last: number | null;
}

export interface CellsEvent {
  readonly type: "cells";
  readonly time: number;
  /** `time` of each cell is the event's; the stream does not repeat it, the client adds it. */
  readonly cells: readonly Cell[];
  /** How many cells the stream's bound has left out. */
  readonly left_out: number;
}

export interface Alert {
  readonly name: string;
  readonly state: AlertState;
  readonly value: number | null;
  readonly tags: Tags;
  readonly since: number;
  readonly severity: string;
  readonly episode: number | string;
  readonly reason: string;
  readonly rule: string;
  readonly acknowledged: { readonly by: string; readonly at: number; readonly comment?: string } | null;
  readonly silenced_by: string;
  readonly held_by: string;
  readonly told_at: number | null;
  readonly next_escalation: unknown;
}

/** An alert has changed its state, or people have done something about it. */
export interface AlertEvent extends Partial<Alert> {
  readonly type: "alert";
  readonly time: number;
  readonly change:
    | "pending" | "firing" | "resolved" | "inactive"
    | "acknowledged" | "unacknowledged" | "silenced" | "unsilenced";
  readonly name: string;
  readonly by?: string;
}

export interface AnomalyEvent {
  readonly type: "anomaly";
  readonly time: number;
  readonly name: string;
  readonly state: string;
  readonly metric: string;
  readonly tags: Tags;
  readonly value: number | null;
  readonly expected: number | null;
  readonly score: number | null;
}

export interface ActionEvent {
  readonly type: "action";
  readonly time: number;
  readonly [key: string]: unknown;
}

/** Something was not sent: the client was slow, or came back too late. */
export interface GapEvent {
  readonly type: "gap";
  readonly time: number;
  readonly from: number;
  readonly to: number;
  readonly reason: "slow" | "too-old";
  readonly cells_lost: number;
  readonly events_lost: number;
}

export type StreamEvent = CellsEvent | AlertEvent | AnomalyEvent | ActionEvent | GapEvent;

export interface QuerySeries {
  readonly metric: string;
  readonly tags: Tags;
  readonly points: readonly (readonly [number, number | null])[];
}

export interface QueryAnswer {
  readonly expr: string;
  readonly step: number;
  readonly series: readonly QuerySeries[];
}

/** RFC 9457, as every refusal is answered. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly [key: string]: unknown;
}

export interface MetricInfo {
  readonly metric: string;
  readonly kind: Kind;
  readonly unit: string;
  readonly help: string;
  readonly series: number;
  /** Whether the metric is the gauge that a rule publishes. */
  readonly rule: boolean;
}
