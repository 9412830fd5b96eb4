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
  readonly acknowledged: { readonly who: string; readonly at: number; readonly comment: string; readonly until: number | null } | null;
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
  /** What windows begin at multiples of, in seconds, where any is written. */
  readonly grain?: number;
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

/** A rule as it stands in GET /v1/alerts: the keys of a rule file. */
export interface RuleDocument {
  readonly alert: string;
  readonly if: string;
  readonly for: string;
  readonly keep: string;
  readonly recover: string | null;
  readonly where: string | null;
  readonly group_by: readonly string[];
  readonly nodata: string;
  readonly severity: string;
  readonly notify: readonly string[];
  readonly every: string;
  readonly policy: string;
  readonly tags: Tags;
  readonly annotations: Tags;
  readonly source: string;
}

/** GET /v1/alerts: what is pending or firing, and the rules there are. */
export interface AlertsAnswer {
  readonly alerts: readonly Alert[];
  readonly rules: readonly RuleDocument[];
}

/** A rule to set with `ops.alert`; the keys are those of a rule file, see docs/alerts.md. */
export interface AlertSettings {
  readonly if: string;
  readonly for?: string;
  readonly keep?: string;
  readonly recover?: string;
  readonly where?: string;
  readonly group_by?: string | readonly string[];
  readonly nodata?: string;
  readonly severity?: string;
  readonly notify?: string | readonly string[];
  readonly every?: string;
  readonly policy?: string;
  readonly tags?: Tags;
  readonly annotations?: Tags;
}

/** An alert to fire by hand with `ops.alertNow`. `ttl`: seconds or a duration, 5 min without one. */
export interface AlertNowSettings {
  readonly value?: number | undefined;
  readonly tags?: Tags | undefined;
  readonly ttl?: number | string | undefined;
  readonly severity?: string | undefined;
  readonly reason?: string | undefined;
}

/** What belongs to a sample beside its name and value. `time`: Unix seconds; `rate`: the share of calls that is sent. */
export interface SampleOptions {
  readonly kind?: Exclude<Kind, "unknown"> | undefined;
  readonly tags?: Readonly<Record<string, string | number | boolean>> | undefined;
  readonly time?: number | undefined;
  readonly rate?: number | undefined;
}

/** Where an engine is and how it is spoken to. What is left out has the default of docs/javascript.md. */
export interface ClientSettings {
  /** Where samples go: udp://HOST:PORT. Node only; browsers post them to `http`. */
  readonly url?: string | undefined;
  /** Where alerts, queries and the stream are: http://HOST:PORT. In a browser without it: the page's own origin. */
  readonly http?: string | undefined;
  /** Sent as a bearer token. */
  readonly token?: string | undefined;
  /** How long a sample waits at most before it is sent. */
  readonly flushIntervalMs?: number | undefined;
  /** Bytes of samples that may wait; the newest are dropped past it. */
  readonly bufferBytesMax?: number | undefined;
  /** How long alerts, queries and other requests wait for their answer. */
  readonly timeoutMs?: number | undefined;
}

export interface QueryRange {
  /** Unix seconds, or a Date. */
  readonly start?: number | Date | undefined;
  readonly end?: number | Date | undefined;
  /** Seconds or a duration; or `points`: the server takes the step that gives at most so many. */
  readonly step?: number | string | undefined;
  readonly points?: number | undefined;
}

export interface RequestOptions {
  /** GET without a body, POST with one, unless it is given. */
  readonly method?: string | undefined;
  readonly parameters?: Readonly<Record<string, unknown>> | undefined;
  /** A text goes as it is, anything else as JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

export type StreamState = "connecting" | "live" | "reconnecting" | "closed";

export interface StreamWants {
  /** Pooled cells of these metrics; a trailing `*` takes all that begin so. */
  readonly metrics?: readonly string[] | undefined;
  /** Cells of each of their series. */
  readonly series?: readonly string[] | undefined;
  /** Which events besides cells; all without it. */
  readonly events?: readonly ("alert" | "anomaly" | "action")[] | undefined;
  /** Unix second from which sealed seconds are sent first. */
  readonly since?: number | undefined;
  /** Go on after this event of an earlier stream. */
  readonly lastEventId?: string | undefined;
}

/** What is called with what comes. One that throws is counted as `handler_errors` and disturbs nothing. */
export interface StreamHandlers {
  readonly cells?: (event: CellsEvent, id: string) => void;
  readonly alert?: (event: AlertEvent, id: string) => void;
  readonly anomaly?: (event: AnomalyEvent, id: string) => void;
  readonly action?: (event: ActionEvent, id: string) => void;
  readonly gap?: (event: GapEvent, id: string) => void;
  /** Every event, before the handler of its type. */
  readonly event?: (event: StreamEvent, id: string) => void;
  /** The connection; `error` says why it is not live. A refusal is a ProblemError with its status. */
  readonly state?: (state: StreamState, error: Error | null) => void;
}

export interface Subscription {
  readonly lastEventId: string;
  close(): void;
}

/** Samples by what became of them, and what went wrong beside them. */
export type ClientCounters = Readonly<
  Record<
    | "sent" | "datagrams" | "dropped" | "dropped_invalid" | "dropped_full" | "dropped_unreachable" | "dropped_refused"
    | "dropped_closed" | "alerts_failed" | "handler_errors" | "events_unread" | "reconnects",
    number
  >
>;
