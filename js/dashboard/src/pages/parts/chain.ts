/**
 * The audit log's chain, checked here, in the reader's own browser, from `GET /v1/audit/export`: each record's SHA-256 and
 * that it names the record before. The engine cannot say that all is well when it is not.
 *
 * A line of the export is the record as JSON with sorted keys and no blanks, `hash` among them; without that member it is
 * the very text that was hashed, so nothing is parsed and written anew (time_ns is past what a double can hold).
 */

export interface ChainState {
  /** whole, broken, or unknown: this browser has no SHA-256 (a page without TLS). */
  readonly state: "whole" | "broken" | "unknown";
  readonly records: number;
  /** The newest number and hash that are good, to be kept elsewhere. */
  readonly last: number;
  readonly hash: string;
  readonly words: string;
}

const HASH_CHARS = 80; // the member with its quotes and comma
const HASH = /"hash":"([0-9a-f]{64})",/;
const PREV = /"prev":"([0-9a-f]{64})"/g;
const NUMBER = /"number":(\d+)/;

export type Digest = (text: string) => Promise<string>;

/** SHA-256 as 64 hex digits, by the browser; null where it has none. */
export function browserDigest(): Digest | null {
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) return null;
  return async (text) => {
    const bytes = new Uint8Array(await subtle.digest("SHA-256", new TextEncoder().encode(text)));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  };
}

interface Head {
  readonly first: number;
  readonly before: string;
  readonly next: number;
  readonly last: string;
  readonly rebuilt: number;
}

function lastMatch(line: string, pattern: RegExp): string {
  let found = "";
  for (const match of line.matchAll(pattern)) found = match[1] ?? "";
  return found;
}

/** Follow the lines of an export; `progress` is told how many records were checked. */
export async function checkChain(lines: AsyncIterable<string>, digest: Digest, progress: (records: number) => void = () => undefined): Promise<ChainState> {
  let head: Head | null = null;
  let prev = "";
  let at = -1;
  let records = 0;
  const broken = (words: string): ChainState => ({ state: "broken", records, last: at, hash: prev, words });
  for await (const line of lines) {
    if (!line) continue;
    if (!head && !records && line.startsWith('{"head":')) {
      head = (JSON.parse(line) as { head: Head }).head;
      prev = head.before;
      at = head.first - 1;
      continue;
    }
    const body = bodyOf(line);
    if (!body) return broken(`Record ${at + 1} cannot be read.`);
    if (at >= 0 && body.number !== at + 1) return broken(`Record ${at + 1} is missing: the next one there is ${body.number}.`);
    if ((await digest(body.text)) !== body.hash) return broken(`Record ${body.number} is not what was written: its hash is another.`);
    if (prev && body.prev !== prev) return broken(`Record ${Math.max(0, body.number - 1)} was written anew: record ${body.number} holds another hash of it.`);
    at = body.number;
    prev = body.hash;
    records++;
    if (records % 500 === 0) progress(records);
  }
  return ended(head, records, at, prev);
}

/** The text that was hashed, and what the chain needs of it. */
function bodyOf(line: string): { text: string; hash: string; prev: string; number: number } | null {
  const place = placeOfHash(line);
  const number = NUMBER.exec(line.slice(place < 0 ? 0 : place));
  if (place < 0 || !number) return null;
  const found = HASH.exec(line.slice(place));
  if (!found) return null;
  const text = line.slice(0, place) + line.slice(place + found[0].length);
  return { text, hash: found[1] ?? "", prev: lastMatch(line, PREV), number: Number(number[1]) };
}

/** Where the record's own `hash` stands: the last one, since keys are sorted and only `detail` could hold another. */
function placeOfHash(line: string): number {
  let found = -1;
  for (let at = line.indexOf('"hash":"'); at >= 0; at = line.indexOf('"hash":"', at + 1)) {
    if (HASH.test(line.slice(at, at + HASH_CHARS))) found = at;
  }
  return found;
}

function ended(head: Head | null, records: number, at: number, prev: string): ChainState {
  const state = { records, last: at, hash: prev };
  if (!head) return { ...state, state: "broken", words: "The head of the log is lost: whether records are missing at its end cannot be told." };
  if (at + 1 < head.next) return { ...state, state: "broken", words: `The log ends before record ${at + 1}; there were ${head.next}.` };
  if (at + 1 > head.next || prev !== head.last) return { ...state, state: "broken", words: "The newest record is not the one the engine's head holds." };
  if (head.rebuilt >= head.first) return { ...state, state: "broken", words: `The head was lost before record ${head.rebuilt}: whether records are missing there cannot be told.` };
  const words = records ? `Whole: ${records.toLocaleString("en-US")} records, ${head.first} to ${at}, each with the hash of the one before.` : "Whole: there are no records yet.";
  return { ...state, state: "whole", words };
}

/** The lines of a body as it comes. */
export async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const parts = (rest + read.value).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
  if (rest) yield rest;
}
