/** Anomalies of a metric as spans to shade: pure. */

export interface AnomalyRecord {
  readonly time: number;
  readonly kind: string;
  readonly name: string;
  readonly state: string;
  readonly second?: number;
  readonly metric: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly value?: number | null;
  readonly baseline?: number | null;
}

export interface AnomalySpan {
  readonly from: number;
  /** null: it goes on. */
  readonly to: number | null;
  readonly name: string;
}

/** Records in the order of time; one that ends without its start began before what is known. */
export function spansOf(records: readonly AnomalyRecord[], metric: string): readonly AnomalySpan[] {
  const open = new Map<string, { from: number; name: string }>();
  const spans: AnomalySpan[] = [];
  for (const record of records) {
    if (record.metric !== metric) continue;
    const key = JSON.stringify([record.name, record.tags ?? {}]);
    const at = record.second ?? record.time;
    const started = open.get(key);
    if (record.state === "ended") {
      if (started) spans.push({ ...started, to: at });
      open.delete(key);
    } else if (!started) open.set(key, { from: at, name: record.name });
  }
  return merged([...spans, ...[...open.values()].map((one) => ({ ...one, to: null }))]);
}

/** Series of one metric are strange together: what overlaps is shaded once. */
function merged(spans: readonly AnomalySpan[]): readonly AnomalySpan[] {
  const sorted = [...spans].sort((a, b) => a.from - b.from);
  const found: AnomalySpan[] = [];
  for (const span of sorted) {
    const last = found.at(-1);
    if (last && last.name === span.name && (last.to === null || span.from <= last.to)) found[found.length - 1] = { ...last, to: last.to === null || span.to === null ? null : Math.max(last.to, span.to) };
    else found.push(span);
  }
  return found;
}
