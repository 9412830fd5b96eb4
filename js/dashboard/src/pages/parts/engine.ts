/** What the engine says of itself: service levels, the ledger, rejects, cardinality, the audit log. Types and readers. */

import { amount, figure, figures, isMembers, list, membersOf, text, texts, words, type Members, type Texts } from "./read";

// ---- service levels

export interface SloGroup {
  readonly tags: Texts;
  readonly good: number;
  readonly total: number;
  readonly compliance: number | null;
  /** The share of the error budget that is left; below 0 it is overspent. */
  readonly budget: number;
  /** Seconds of a window → how many times too fast. */
  readonly burn: Readonly<Record<string, number | null>>;
  readonly firing: readonly string[];
  /** ok, burning, exhausted, no data. */
  readonly state: string;
}

export interface SloDoc {
  readonly name: string;
  readonly objective: number;
  readonly good: string;
  readonly windowSeconds: number;
  readonly groupBy: readonly string[];
  readonly source: string;
  readonly groups: readonly SloGroup[];
}

export const readSlos = (value: unknown): readonly SloDoc[] =>
  list(membersOf(value, "list of service levels"), "slos", (from) => ({
    name: text(from, "slo"),
    objective: amount(from, "objective"),
    good: text(from, "good"),
    windowSeconds: amount(from, "window_seconds"),
    groupBy: words(from, "group_by"),
    source: text(from, "source"),
    groups: list(from, "groups", readGroup),
  }), "list of service levels");

const readGroup = (from: Members): SloGroup => ({
  tags: texts(from, "tags"),
  good: amount(from, "good"),
  total: amount(from, "total"),
  compliance: figure(from, "compliance"),
  budget: amount(from, "budget"),
  burn: figures(from, "burn"),
  firing: words(from, "firing"),
  state: text(from, "state"),
});

// ---- the ledger

/** By reason. */
export type Counts = Readonly<Record<string, number>>;

export interface Books {
  readonly arrived: number;
  readonly received: number;
  readonly kernelDrops: number;
  readonly accepted: number;
  readonly rejected: Counts;
  readonly values: number;
  readonly samples: number;
  readonly bad: Counts;
}

export interface LedgerDoc {
  readonly all: Books;
  readonly inputs: readonly (readonly [string, Books])[];
}

export function readLedger(value: unknown): LedgerDoc {
  const from = membersOf(value, "ledger");
  const inputs = from["inputs"];
  return {
    all: readBooks(from),
    inputs: isMembers(inputs) ? Object.entries(inputs).filter((one): one is [string, Members] => isMembers(one[1])).map(([name, one]) => [name, readBooks(one)]) : [],
  };
}

const readBooks = (from: Members): Books => ({
  arrived: amount(from, "arrived"),
  received: amount(from, "received"),
  kernelDrops: amount(from, "kernel_drops"),
  accepted: amount(from, "accepted"),
  rejected: countsOf(from, "rejected"),
  values: amount(from, "values"),
  samples: amount(from, "samples"),
  bad: countsOf(from, "bad"),
});

const countsOf = (from: Members, key: string): Counts =>
  Object.fromEntries(Object.entries(figures(from, key)).map(([name, many]) => [name, many ?? 0]));

export interface Reject {
  readonly time: number | null;
  readonly input: string;
  readonly reason: string;
  readonly source: string;
  readonly text: string;
}

export const readRejects = (value: unknown): readonly Reject[] =>
  list(membersOf(value, "list of rejects"), "rejects", (from) => ({
    time: figure(from, "time"),
    input: text(from, "input"),
    reason: text(from, "reason"),
    source: text(from, "source"),
    text: text(from, "text"),
  }), "list of rejects");

// ---- cardinality

export interface TagCount {
  readonly tag: string;
  readonly values: number;
  /** Of how many series it is a tag; 0 where it is told of one metric. */
  readonly series: number;
}

export interface MetricSize {
  readonly metric: string;
  readonly series: number;
  readonly tags: readonly TagCount[];
}

export interface CardinalityDoc {
  readonly series: number;
  readonly limit: number;
  readonly overflowed: number;
  readonly metrics: readonly MetricSize[];
  readonly tags: readonly TagCount[];
}

const readTag = (from: Members): TagCount => ({ tag: text(from, "tag"), values: amount(from, "values"), series: amount(from, "series") });

export function readCardinality(value: unknown): CardinalityDoc {
  const from = membersOf(value, "account of series");
  return {
    series: amount(from, "series"),
    limit: amount(from, "limit"),
    overflowed: amount(from, "overflowed"),
    metrics: list(from, "metrics", (one) => ({ metric: text(one, "metric"), series: amount(one, "series"), tags: list(one, "tags", readTag) }), "account of series"),
    tags: list(from, "tags", readTag),
  };
}

// ---- the audit log

export interface AuditRecord {
  readonly number: number;
  readonly time: number | null;
  readonly who: string;
  readonly what: string;
  readonly subject: string;
  readonly outcome: string;
  readonly source: string;
  readonly detail: Members;
  readonly prev: string;
  readonly hash: string;
}

export const readAudit = (value: unknown): readonly AuditRecord[] =>
  list(membersOf(value, "audit log"), "audit", (from) => ({
    number: amount(from, "number", -1),
    time: figure(from, "time"),
    who: text(from, "who"),
    what: text(from, "what"),
    subject: text(from, "subject"),
    outcome: text(from, "outcome"),
    source: text(from, "source"),
    detail: isMembers(from["detail"]) ? from["detail"] : {},
    prev: text(from, "prev"),
    hash: text(from, "hash"),
  }), "audit log");
