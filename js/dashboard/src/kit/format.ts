/** Values, ages and spans as people read them; values as the charts write them. Pure; NaN and null are a dash. */

import { formatAgo, formatDuration, formatNumber, formatValue } from "@hms-ops/react";

export const NONE = "–";

/** About three digits that matter: 0.00123, 12.3, 1,234, 56.8 M. */
export const number = (value: number | null | undefined): string => (isMissing(value) ? NONE : formatNumber(value));

const isMissing = (value: number | null | undefined): value is null | undefined => value === null || value === undefined || Number.isNaN(value);

/** An exact count with its thousands: 1,234,567. */
export const count = (value: number | null | undefined): string =>
  value === null || value === undefined || Number.isNaN(value) ? NONE : Math.round(value).toLocaleString("en-US");

export const percent = (part: number | null | undefined, places = 1): string =>
  part === null || part === undefined || Number.isNaN(part) ? NONE : `${(part * 100).toFixed(places)} %`;

/** A value with its unit, in steps of it: 212 ms, 1.25 s, 3.4 MiB, 1,240/s. */
export const withUnit = (value: number | null | undefined, unit: string): string => formatValue(value, unit);

export const bytes = (value: number | null | undefined): string => formatValue(value, "bytes");

/** A span of seconds in at most two parts: 3 min 20 s, 2 h, 1 d 4 h; less than one in milliseconds. */
export function span(seconds: number): string {
  if (Number.isNaN(seconds)) return NONE;
  return seconds > 0 && seconds < 0.5 ? `${formatNumber(seconds * 1000)} ms` : formatDuration(seconds);
}

/** "just now", "3 min ago", "in 2 h". */
export const ago = (at: number, now: number): string => (Math.abs(now - at) < 5 ? "just now" : formatAgo(at, now));

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
