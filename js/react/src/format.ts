/** How values and times are written, on charts, lights, lists and pages alike. A table of units; pure functions. */

/** Rows of [divisor, suffix], ascending; the last one that a magnitude reaches is taken. */
type Ladder = readonly (readonly [number, string])[];

/** From here on numbers are written with an exponent: 1.2e30. */
const HUGE = 1e15;

const TIME: Ladder = [[1e-6, "ns"], [1e-3, "µs"], [1, "ms"], [1e3, "s"], [6e4, "min"], [3.6e6, "h"], [8.64e7, "d"]];
const BYTES: Ladder = [[1, "B"], [1024, "KiB"], [1024 ** 2, "MiB"], [1024 ** 3, "GiB"], [1024 ** 4, "TiB"]];
const COUNT: Ladder = [[1, ""], [1e6, "M"], [1e9, "G"], [1e12, "T"], [HUGE, ""]];

/** A unit's ladder, and how many of the ladder's first unit (ms, bytes, ones) make one of it. */
const UNITS: Readonly<Record<string, readonly [Ladder, number]>> = {
  ns: [TIME, 1e-6], us: [TIME, 1e-3], µs: [TIME, 1e-3], ms: [TIME, 1], s: [TIME, 1e3], B: [BYTES, 1], bytes: [BYTES, 1],
};
const NONE = "–";

const digits = [0, 1, 2, 3, 4, 5, 6].map(
  (most) => new Intl.NumberFormat("en-US", { maximumFractionDigits: most }),
);

/** A number with about three significant digits, whole above a hundred: 1,240 · 212 · 21.3 · 0.045. */
export function formatNumber(value: number): string {
  return withDigits(value, Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(Math.abs(value))))));
}

/** A value with its unit: 212 ms · 1.25 s · 3.4 MiB · 12.5 % · 1,240/s. "–" for none. */
export function formatValue(value: number | null | undefined, unit = ""): string {
  if (value == null || !Number.isFinite(value)) return NONE;
  const [divisor, suffix] = scaleOf(Math.abs(value), unit);
  return formatNumber(value / divisor) + suffix;
}

/** Ticks of an axis: all in the unit of the largest, with the digits their distance needs. */
export function formatTicks(ticks: readonly number[], unit = ""): string[] {
  const [divisor, suffix] = scaleOf(Math.max(...ticks.map(Math.abs)), unit);
  const apart = ticks.length > 1 ? Math.abs(ticks[1]! - ticks[0]!) / divisor : 1;
  let most = 0;
  while (most < 6 && apart * 10 ** most < 100 && !isWhole(apart * 10 ** most)) most++;
  return ticks.map((tick) => withDigits(tick / divisor, most) + suffix);
}

const isWhole = (value: number): boolean => Math.abs(value - Math.round(value)) < 0.01;

/** The divisor and what is written behind the number, blank included. */
function scaleOf(size: number, unit: string): readonly [number, string] {
  const [, base, per] = /([^/]*)(.*)/s.exec(unit) as unknown as [string, string, string];
  const [ladder, factor] = UNITS[base] ?? [COUNT, 1];
  let [divisor, suffix] = UNITS[base] && !size ? [factor, base] : ladder[0]!;
  for (const [least, name] of ladder) if (size * factor >= least * 0.9995) [divisor, suffix] = [name ? least : 1, name];
  const words = (UNITS[base] ? suffix : `${suffix} ${base}`.trim()) + per;
  return [divisor / factor, words.replace(/^[^/]/, " $&")];
}

function withDigits(value: number, most: number): string {
  if (Math.abs(value) >= HUGE) return value.toExponential(2).replace(/\.?0*e\+/, "e");
  return digits[most]!.format(value + 0); // + 0: no "-0"
}

// ---- times, all in Unix seconds, shown in the reader's time zone

const clock = lazily({ timeStyle: "medium", hourCycle: "h23" });
const minute = lazily({ timeStyle: "short", hourCycle: "h23" });
const day = lazily({ day: "numeric", month: "short" });
const date = lazily({ dateStyle: "medium" });

/** 14:05:32. */
export const formatClock = clock;

/** The whole of a moment: "Nov 23, 2026, 14:05:32". */
export const formatMoment = (time: number): string => `${date(time)}, ${clock(time)}`;

/** 2026-11-23T14:05:32Z, for `<time>` and titles. */
export const isoOf = (time: number): string => new Date(time * 1000).toISOString().replace(".000Z", "Z");

/** A moment as briefly as a window of so many seconds allows. */
export function formatWithin(time: number, seconds: number): string {
  return seconds <= 3600 ? clock(time) : (seconds > 86_400 ? `${day(time)}, ` : "") + minute(time);
}

/** Ticks of a time axis: the day at midnight, else the clock, with seconds where ticks are closer than a minute. */
export function formatTimeTicks(ticks: readonly number[], apart: number): string[] {
  return ticks.map((tick) => (apart >= 86_400 || minute(tick) === "00:00" && apart >= 60 ? day : apart < 60 ? clock : minute)(tick));
}

/** 45 s · 5 min · 2 h 5 min · 3 d 4 h. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]] as const;
  const first = parts.findIndex(([size]) => size < 2 || whole >= size);
  const [size, name] = parts[first]!;
  const next = parts[first + 1];
  const rest = next ? Math.floor((whole % size) / next[0]) : 0;
  return `${Math.floor(whole / size)} ${name}` + (rest && whole < size * 10 ? ` ${rest} ${next![1]}` : "");
}

/** "5 min ago"; what lies ahead is "in 5 min". */
export function formatAgo(time: number, now: number): string {
  return time > now + 1 ? `in ${formatDuration(time - now)}` : `${formatDuration(now - time)} ago`;
}

/** Formatters take milliseconds to make, and a server that renders may never need one. */
function lazily(options: Intl.DateTimeFormatOptions): (time: number) => string {
  let made: Intl.DateTimeFormat | undefined;
  return (time) => (made ??= new Intl.DateTimeFormat("en-US", options)).format(time * 1000);
}
