/** The ranges that can be chosen, and what stands in the address for them: pure. */

export interface Span {
  readonly key: string;
  readonly seconds: number;
  readonly words: string;
}

export const spans: readonly Span[] = [
  { key: "1m", seconds: 60, words: "1 min" },
  { key: "5m", seconds: 300, words: "5 min" },
  { key: "15m", seconds: 900, words: "15 min" },
  { key: "1h", seconds: 3_600, words: "1 h" },
  { key: "6h", seconds: 21_600, words: "6 h" },
  { key: "24h", seconds: 86_400, words: "24 h" },
  { key: "7d", seconds: 604_800, words: "7 d" },
  { key: "30d", seconds: 2_592_000, words: "30 d" },
];

export const PRESET = "15m";

export interface Chosen {
  readonly key: string;
  readonly seconds: number;
  /** A range that stands still, in Unix seconds; null: up to now. */
  readonly fixed: { readonly from: number; readonly to: number } | null;
}

export const spanOf = (key: string): Span => spans.find((span) => span.key === key) ?? (spans.find((span) => span.key === PRESET) as Span);

/** What the address' `range`, `from` and `to` mean; what makes no sense means the preset. */
export function chosen(range: string, from: string, to: string): Chosen {
  const { key, seconds } = spanOf(range);
  const [start, end] = [Number(from), Number(to)];
  const isFixed = from !== "" && to !== "" && Number.isFinite(start) && Number.isFinite(end) && start >= 0 && end > start;
  return isFixed ? { key, seconds: end - start, fixed: { from: start, to: end } } : { key, seconds, fixed: null };
}

/** The next longer (1) or shorter (-1) range. */
export function neighbour(key: string, step: 1 | -1): Span {
  const at = spans.indexOf(spanOf(key));
  return spans[Math.min(spans.length - 1, Math.max(0, at + step))] as Span;
}
