/** Values, ages and spans as people read them. Pure; NaN and null are a dash. */

export const NONE = "–";

const WORDS: Readonly<Record<string, string>> = { percent: "%", second: "s", seconds: "s", millisecond: "ms", milliseconds: "ms" };
const LETTERS = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]] as const;
const BYTES = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]] as const;

/** Three or four digits that matter: 0.00123, 12.3, 1,234, 56.8 k. */
export function number(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  const size = Math.abs(value);
  if (size >= 1e15) return value.toExponential(2);
  for (const [step, letter] of LETTERS) if (size >= step * 10) return `${digits(value / step)} ${letter}`;
  return digits(value);
}

function digits(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 1e-4) return value.toExponential(1);
  const places = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3 - Math.floor(Math.log10(size)) - 1;
  const rounded = Number.isInteger(value) ? value : Number(value.toFixed(Math.min(places, 8)));
  return rounded.toLocaleString("en-US", { maximumFractionDigits: 8 });
}

/** An exact count with its thousands: 1,234,567. */
export const count = (value: number | null | undefined): string =>
  value === null || value === undefined || Number.isNaN(value) ? NONE : Math.round(value).toLocaleString("en-US");

export const percent = (part: number | null | undefined, places = 1): string =>
  part === null || part === undefined || Number.isNaN(part) ? NONE : `${(part * 100).toFixed(places)} %`;

/** A value with its unit; bytes in steps of 1,024. */
export function withUnit(value: number | null | undefined, unit: string): string {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  if (unit === "bytes" || unit === "byte" || unit === "B") return bytes(value);
  const short = WORDS[unit] ?? unit;
  return short ? `${number(value)} ${short}` : number(value);
}

export function bytes(value: number): string {
  for (const [step, unit] of BYTES) if (Math.abs(value) >= step) return `${digits(value / step)} ${unit}`;
  return `${digits(value)} B`;
}

const SPANS = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]] as const;

/** A span of seconds in at most two parts: 3 min 20 s, 2 h, 1 d 4 h. */
export function span(seconds: number): string {
  if (Number.isNaN(seconds)) return NONE;
  let rest = Math.max(0, Math.round(seconds));
  if (rest === 0) return seconds > 0 ? `${digits(seconds * 1000)} ms` : "0 s";
  const parts: string[] = [];
  for (const [size, unit] of SPANS) {
    const whole = Math.floor(rest / size);
    if (whole) parts.push(`${whole} ${unit}`);
    else if (parts.length) break;
    rest -= whole * size;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** "just now", "3 min ago", "in 2 h": coarser the longer ago. */
export function ago(at: number, now: number): string {
  const past = now - at;
  const size = Math.abs(past);
  if (size < 5) return "just now";
  const text = coarse(size);
  return past > 0 ? `${text} ago` : `in ${text}`;
}

function coarse(seconds: number): string {
  for (const [size, unit] of SPANS) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return "1 s";
}

const two = (value: number): string => String(value).padStart(2, "0");

/** 14:03:22 in this computer's zone. */
export function clockTime(at: number): string {
  const date = new Date(at * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** 2026-11-23 14:03:22 in this computer's zone. */
export function dateTime(at: number): string {
  const date = new Date(at * 1000);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clockTime(at)}`;
}

/** The same moment for machines and across zones. */
export const utc = (at: number): string => `${new Date(at * 1000).toISOString().slice(0, 19)}Z`;

/** `{agency="irs", region="west"}`; "" without tags. */
export function tagText(tags: Readonly<Record<string, string>> | null): string {
  const names = Object.keys(tags ?? {}).sort();
  return names.length ? `{${names.map((name) => `${name}="${tags?.[name] ?? ""}"`).join(", ")}}` : "";
}

export const plural = (many: number, one: string, more = `${one}s`): string => `${count(many)} ${many === 1 ? one : more}`;
