/**
 * The ledger as sums that close, and what they say when they do not; rates between two readings. Pure.
 *
 *     arrived  = received + dropped by the kernel        received = accepted + rejected        values = samples + bad
 */

import { count, plural } from "../../kit/format";
import type { Books, Counts } from "./engine";

export const sum = (counts: Counts): number => Object.values(counts).reduce((all, one) => all + one, 0);

export interface Term {
  readonly name: string;
  readonly value: number;
  /** A loss, which is nothing to be proud of unless it is 0. */
  readonly isLoss: boolean;
}

export interface Identity {
  readonly name: string;
  /** What the total counts: datagrams, values. */
  readonly what: string;
  readonly total: number;
  readonly totalName: string;
  readonly terms: readonly Term[];
  /** total less the terms: 0 when the sum closes. */
  readonly difference: number;
  readonly words: string;
}

export function identities(books: Books): readonly Identity[] {
  return [
    identity("Reached this machine", "datagrams", "arrived", books.arrived, [
      { name: "received", value: books.received, isLoss: false },
      { name: "dropped by the kernel", value: books.kernelDrops, isLoss: true },
    ]),
    identity("Read by the engine", "datagrams", "received", books.received, [
      { name: "accepted", value: books.accepted, isLoss: false },
      { name: "rejected whole", value: sum(books.rejected), isLoss: true },
    ]),
    identity("Found in accepted datagrams", "values", "values", books.values, [
      { name: "stored as samples", value: books.samples, isLoss: false },
      { name: "bad", value: sum(books.bad), isLoss: true },
    ]),
  ];
}

function identity(name: string, what: string, totalName: string, total: number, terms: readonly Term[]): Identity {
  const difference = total - terms.reduce((all, term) => all + term.value, 0);
  const made = terms.map((term) => `${count(term.value)} ${term.name}`).join(" + ");
  const words = difference === 0
    ? `${count(total)} ${totalName} = ${made}.`
    : `${count(total)} ${totalName} is not ${made}: ${plural(Math.abs(difference), `${what.slice(0, -1)} is`, `${what} are`)} ${difference > 0 ? "missing" : "too many"}. This must never be; please report it.`;
  return { name, what, total, totalName, terms, difference, words };
}

/** Everything that was lost or refused, in one sentence. */
export function lossWords(books: Books): string {
  const rejected = sum(books.rejected);
  const bad = sum(books.bad);
  if (!books.kernelDrops && !rejected && !bad) return "Nothing was lost and nothing was refused.";
  const parts = [
    books.kernelDrops ? `${plural(books.kernelDrops, "datagram was", "datagrams were")} dropped by the kernel before the engine could read them` : "the kernel dropped nothing",
    rejected ? `${plural(rejected, "datagram was", "datagrams were")} rejected whole` : "",
    bad ? `${plural(bad, "value was", "values were")} bad` : "",
  ].filter(Boolean);
  const text = parts.length > 1 ? `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}` : parts[0] ?? "";
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
}

// ---- reasons

/** Why a datagram or value was turned away, for people; docs/metrics.md has the whole. */
export const REASONS: Readonly<Record<string, string>> = {
  empty: "there was nothing in it",
  truncated: "longer than the engine takes (limits.datagram_bytes)",
  too_large: "more values than one document may have",
  json_syntax: "not strictly JSON",
  duplicate_key: "JSON with the same key twice",
  json_trailing: "something stands behind the JSON",
  msgpack_syntax: "not msgpack",
  msgpack_length: "msgpack with a length beyond the datagram",
  msgpack_trailing: "something stands behind the msgpack",
  nesting: "nested deeper than 16",
  utf8: "text that is no UTF-8",
  syntax: "a line that cannot be read",
  number: "the value is no number",
  nan: "the value is not a number (NaN)",
  infinite: "the value is infinite",
  magnitude: "a value beyond ±1e150",
  kind: "a kind nobody knows",
  kind_conflict: "the metric already has another kind",
  name_empty: "a metric without a name",
  name_too_long: "a name of more than 200 bytes",
  name_missing: "an element without a name",
  name_reserved: "the name belongs to a rule or to the engine",
  value_missing: "an element without a value",
  element: "an element that is no object",
  control_byte: "a control character in a name or tag",
  too_many_tags: "more than 32 tags",
  tags_too_long: "tags of more than 4 KiB",
  tag_reserved: "a tag that begins with __",
  tag: "a tag that cannot be read",
  rate: "a sample rate outside of (0, 1]",
  time: "a time that cannot be read or used",
  time_too_old: "a time more than an hour ago",
  time_too_far_ahead: "a time more than ten minutes ahead",
  late_queue_full: "too many samples with a time of their own wait",
  set_member: "a set's member that cannot be read",
  set_memory_full: "all sets together reached their memory",
  no_room: "beyond the limit of series, and no room even in the overflow",
};

export const reasonWords = (reason: string): string => REASONS[reason] ?? "";

export interface ReasonRow {
  readonly key: string;
  /** datagram or value. */
  readonly what: "datagram" | "value";
  readonly reason: string;
  readonly words: string;
  readonly many: number;
}

/** What was turned away, by reason, the most frequent first. */
export function reasonRows(books: Books): readonly ReasonRow[] {
  const rows = (counts: Counts, what: ReasonRow["what"]): ReasonRow[] =>
    Object.entries(counts).map(([reason, many]) => ({ key: `${what} ${reason}`, what, reason, words: reasonWords(reason), many }));
  return [...rows(books.rejected, "datagram"), ...rows(books.bad, "value")].filter((row) => row.many > 0).sort((a, b) => b.many - a.many);
}

// ---- rates

export interface Reading {
  /** Unix seconds. */
  readonly at: number;
  readonly books: Books;
}

/** So far back rates are taken. */
export const RATE_SECONDS = 10;

/** The readings that rates are taken from, with a new one; counters that fell began anew, and so do the readings. */
export function withReading(readings: readonly Reading[], next: Reading): readonly Reading[] {
  const last = readings.at(-1);
  if (last && next.books.arrived < last.books.arrived) return [next];
  if (last && next.at <= last.at) return readings;
  return [...readings.filter((one) => next.at - one.at <= RATE_SECONDS), next];
}

/** How much a number grew each second over the readings; null before there are two. */
export function rateOf(readings: readonly Reading[], value: (books: Books) => number): number | null {
  const first = readings[0];
  const last = readings.at(-1);
  if (!first || !last || last.at <= first.at) return null;
  return (value(last.books) - value(first.books)) / (last.at - first.at);
}

/** What an input is, for people. */
export function inputWords(name: string): string {
  if (name === "self") return "what the engine measures of itself and its host";
  if (name === "in-process") return "values of the program it runs in";
  if (name === "http") return "bodies of POST /v1/ingest";
  if (name.startsWith("udp:")) return "a UDP port";
  return name.startsWith("unix:") ? "a Unix datagram socket" : "";
}
