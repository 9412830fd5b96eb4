/** A Live that a test moves by hand: cells are pushed, watchers counted, requests answered from a table. */
import type { Alert, AlertsAnswer, Cell, Client, Kind, QueryAnswer } from "@hms-ops/client";
import type { Live, LiveEvent, LiveState } from "@hms-ops/core";

export interface Asked {
  path: string;
  parameters: Record<string, unknown>;
  body: unknown;
}

type Answer = (asked: Asked) => unknown;

export class FakeLive implements Live {
  readonly asked: Asked[] = [];
  readonly watchers = new Set<() => void>();
  readonly client: Client;
  answer: Answer = () => ({ expr: "", step: 10, series: [] });
  private readonly kept = new Map<string, readonly Cell[]>();
  private known: AlertsAnswer = { alerts: [], rules: [] };
  private shown: LiveState = { connection: "connecting", second: null, receivedAt: 0, gaps: 0, error: null };

  constructor() {
    const request = async (path: string, options: { parameters?: object; body?: unknown } = {}): Promise<unknown> => {
      const asked = { path, parameters: { ...options.parameters }, body: options.body };
      this.asked.push(asked);
      return this.answer(asked);
    };
    this.client = { request } as unknown as Client;
  }

  cells(metric: string): readonly Cell[] {
    return this.kept.get(metric) ?? NO_CELLS;
  }
  seriesCells(): ReadonlyMap<string, readonly Cell[]> {
    return new Map();
  }
  watch(_: string, changed: () => void): () => void {
    return this.listen(changed);
  }
  watchSeries(_: string, changed: () => void): () => void {
    return this.listen(changed);
  }
  alerts(): AlertsAnswer {
    return this.known;
  }
  watchAlerts(changed: () => void): () => void {
    return this.listen(changed);
  }
  watchEvents(handler: (event: LiveEvent) => void): () => void {
    return this.listen(handler as () => void);
  }
  state(): LiveState {
    return this.shown;
  }
  watchState(changed: () => void): () => void {
    return this.listen(changed);
  }
  pause(): void {}
  resume(): void {}
  isClosed = false;
  close(): void {
    this.isClosed = true;
  }

  /** A second of the stream: a value of each metric; null is a second without a sample. */
  second(time: number, values: Readonly<Record<string, number | null>> = {}, kind: Kind = "gauge"): void {
    for (const [metric, value] of Object.entries(values)) {
      if (value != null) this.kept.set(metric, [...this.cells(metric), cellOf(metric, time, value, kind)]);
    }
    this.move({ second: time, connection: "live", receivedAt: time * 1000 });
  }

  move(state: Partial<LiveState>): void {
    this.shown = { ...this.shown, ...state };
    this.tell();
  }

  setAlerts(alerts: readonly Alert[], rules: AlertsAnswer["rules"] = []): void {
    this.known = { alerts, rules };
    this.tell();
  }

  private listen(changed: () => void): () => void {
    const one = (): void => changed();
    this.watchers.add(one);
    return () => void this.watchers.delete(one);
  }

  private tell(): void {
    for (const changed of [...this.watchers]) changed();
  }
}

const NO_CELLS: readonly Cell[] = [];

export function cellOf(metric: string, time: number, value: number, kind: Kind = "gauge", more: Partial<Cell> = {}): Cell {
  return { metric, tags: null, kind, time, value, count: 1, sum: value, min: value, max: value, last: value, ...more };
}

export function alertOf(name: string, more: Partial<Alert> = {}): Alert {
  return {
    name, state: "firing", value: 215, tags: {}, since: 1_700_000_000, severity: "page", episode: 1, reason: "", rule: "",
    acknowledged: null, silenced_by: "", held_by: "", told_at: null, next_escalation: null, ...more,
  };
}

export function answerOf(expr: string, step: number, points: QueryAnswer["series"][number]["points"], tags = {}): QueryAnswer {
  return { expr, step, series: [{ metric: expr, tags, points }] };
}
