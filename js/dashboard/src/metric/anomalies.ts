/** Anomalies of a metric as episodes to list and spans to shade: pure. */

import { tagText } from "../kit/format";

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

/** From where an anomaly began to where it ended, in one series. */
export interface Episode {
  readonly from: number;
  /** null: it goes on. */
  readonly to: number | null;
  readonly name: string;
  readonly series: string;
  /** The farthest from what was expected. */
  readonly value: number | null;
  readonly expected: number | null;
}

export interface AnomalySpan {
  readonly from: number;
  readonly to: number | null;
  readonly name: string;
}

/** Records of one metric in the order of time; one that ends without its start began before what is known. */
export function episodesOf(records: readonly AnomalyRecord[]): readonly Episode[] {
  const open = new Map<string, Episode>();
  const ended: Episode[] = [];
  for (const record of records) {
    const key = `${record.name} ${tagText(record.tags ?? null)}`;
    const began = open.get(key);
    const at = record.second ?? record.time;
    if (record.state !== "ended") open.set(key, began ? farther(began, record) : episodeOf(record, at));
    else if (began) ended.push({ ...began, to: at });
    if (record.state === "ended") open.delete(key);
  }
  return [...ended, ...open.values()].sort((a, b) => a.from - b.from);
}

const episodeOf = (record: AnomalyRecord, from: number): Episode => ({
  from, to: null, name: record.name, series: tagText(record.tags ?? null), value: record.value ?? null, expected: record.baseline ?? null,
});

function farther(episode: Episode, { value = null, baseline = null }: AnomalyRecord): Episode {
  const distance = (one: number | null, other: number | null): number => Math.abs((one ?? NaN) - (other ?? NaN)) || 0;
  return distance(value, baseline) > distance(episode.value, episode.expected) ? { ...episode, value, expected: baseline } : episode;
}

/** Series of one metric are strange together: what overlaps is shaded once. */
export function merged(episodes: readonly Episode[]): readonly AnomalySpan[] {
  const found: AnomalySpan[] = [];
  for (const { from, to, name } of episodes) {
    const last = found.at(-1);
    if (!last || last.name !== name || (last.to !== null && from > last.to)) found.push({ from, to, name });
    else found[found.length - 1] = { ...last, to: last.to === null || to === null ? null : Math.max(last.to, to) };
  }
  return found;
}
