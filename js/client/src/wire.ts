// Samples as text: DogStatsD lines, as src/hms_ops/client/wire.py writes them (tests/golden/client_wire.json holds both to it).
//
//     finance.api_ms:240.5|ms|@0.1|#agency:irs,region:east
//
// StatsD reads `-5|g` as "five less" and has no fractions of a second, so a gauge below zero and a sample with a time
// travel as JSON documents. What the engine would reject (names without
// 1 to 200 bytes, more than 32 tags, keys that are empty or begin with __, values beyond ±1e150) throws here, and the client counts.
import type { SampleOptions } from "./types.js";

export const VALUE_MAX = 1e150;
const NAME_BYTES_MAX = 200;
const TAGS_MAX = 32;

const CODES: Readonly<Record<string, string | null>> = {
  __proto__: null, // "constructor" is no kind
  counter: "c", gauge: "g", timer: "ms", histogram: "h", distribution: "d", set: "s",
};

const encoder = new TextEncoder();

export const bytesOf = (text: string): number =>
  /^[\0-\x7f]*$/.test(text) ? text.length : encoder.encode(text).length;

/** Without a word: nobody would read it, `metric` throws nothing and counts. */
export function refuse(): never {
  throw new TypeError();
}

function clean(text: unknown, forbidden: RegExp): string {
  // A lone surrogate has no UTF-8; with the flag u a pair of them is one character and stays.
  return typeof text === "string" ? text.replace(/[\ud800-\udfff]/gu, "?").replace(forbidden, "_") : refuse();
}

export function cleanName(name: string): string {
  const cleaned = clean(name, /[\0-\x1f\x7f:|#@{]/g);
  if (!cleaned || bytesOf(cleaned) > NAME_BYTES_MAX) refuse();
  // A datagram that begins with these bytes would be read as JSON or msgpack.
  return /^[[\u0700-\u07ff]/.test(cleaned) ? `_${cleaned}` : cleaned;
}

export function cleanTags(tags: SampleOptions["tags"] | null): [string, string][] {
  if (tags === undefined || tags === null) return [];
  if (typeof tags !== "object" || Array.isArray(tags)) refuse();
  const entries = Object.entries(tags).map(([key, value]): [string, string] => [tagKey(key), tagValue(value)]);
  if (entries.length > TAGS_MAX) refuse();
  return entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

function tagKey(key: string): string {
  const cleaned = clean(key, /[\0-\x1f\x7f:,|]/g);
  return cleaned && !cleaned.startsWith("__") ? cleaned : refuse();
}

function tagValue(value: unknown): string {
  if (/^(number|boolean|bigint)$/.test(typeof value)) return String(value);
  return clean(value, /[\0-\x1f\x7f,|]/g);
}

export function number(value: unknown): number {
  const plain = typeof value === "number" ? value : /^b(oolean|igint)$/.test(typeof value) ? Number(value) : NaN;
  return Math.abs(plain) <= VALUE_MAX ? plain : refuse();
}

export function member(value: unknown): string {
  const text = typeof value === "string" ? clean(value, /[\0-\x1f\x7f:|]/g) : String(number(value));
  return text || refuse();
}

/** The kind, inferred from the name where it is not said. */
export function kindOf(name: string, kind?: string | null): string {
  return kind ?? (name.endsWith("_ms") ? "timer" : "gauge");
}

export interface Frame {
  readonly head: string;
  readonly tail: string;
}

/** What is the same in every line of one series: head + value + tail. */
export function frame(name: string, kind: string, tags: SampleOptions["tags"] | null, rate: number): Frame {
  const code = CODES[kind] ?? refuse();
  const tagPart = cleanTags(tags).map(([key, value]) => `${key}:${value}`).join();
  const ratePart = rate === 1 ? "" : `|@${rate}`;
  return { head: `${cleanName(name)}:`, tail: `|${code}${ratePart}${tagPart && `|#${tagPart}`}` };
}

/** A sample that no line can say. */
export function document(name: string, value: number | string, kind: string, options: SampleOptions, rate: number): string {
  if (!CODES[kind]) refuse();
  const tags = cleanTags(options.tags);
  return JSON.stringify({
    metric: cleanName(name),
    value,
    kind,
    tags: tags.length ? Object.fromEntries(tags) : undefined,
    time: options.time === undefined ? undefined : number(options.time),
    rate: rate === 1 ? undefined : rate,
  });
}
