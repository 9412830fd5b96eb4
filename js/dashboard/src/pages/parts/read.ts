/**
 * Readers of JSON of which nobody knows whether it is what it should be: an engine of another version, a proxy's page.
 * A member that is missing or of another type gets its plain default, so that one of them costs no page; a document that
 * is none is an `Unreadable`, which the section shows. Pure.
 */

export class Unreadable extends Error {
  override readonly name = "Unreadable";
  constructor(what: string) {
    super(`The engine answered something that is no ${what}. Its version may be another than this page's: load the page again.`);
  }
}

export type Members = Readonly<Record<string, unknown>>;
export type Texts = Readonly<Record<string, string>>;

export const isMembers = (value: unknown): value is Members => typeof value === "object" && value !== null && !Array.isArray(value);

/** The document's members; Unreadable for anything else. */
export function membersOf(value: unknown, what: string): Members {
  if (!isMembers(value)) throw new Unreadable(what);
  return value;
}

export const text = (from: Members, key: string, preset = ""): string => {
  const value = from[key];
  return typeof value === "string" ? value : typeof value === "number" || typeof value === "boolean" ? String(value) : preset;
};

/** A number; null where there is none. */
export const figure = (from: Members, key: string): number | null => {
  const value = from[key];
  return typeof value === "number" && Number.isFinite(value) ? value : null;
};

export const amount = (from: Members, key: string, preset = 0): number => figure(from, key) ?? preset;

export const flag = (from: Members, key: string): boolean => from[key] === true;

/** Texts by name, such as tags; what is no text is left out. */
export function texts(from: Members, key: string): Texts {
  const value = from[key];
  if (!isMembers(value)) return {};
  return Object.fromEntries(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string"));
}

/** Numbers by name, such as counts by reason. */
export function figures(from: Members, key: string): Readonly<Record<string, number | null>> {
  const value = from[key];
  if (!isMembers(value)) return {};
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, typeof one === "number" && Number.isFinite(one) ? one : null]));
}

export function words(from: Members, key: string): readonly string[] {
  const value = from[key];
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === "string") : [];
}

/** A list of objects, each read; Unreadable where the list itself is missing and `what` says of what. */
export function list<T>(from: Members, key: string, read: (one: Members) => T, what = ""): readonly T[] {
  const value = from[key];
  if (!Array.isArray(value)) {
    if (what) throw new Unreadable(what);
    return [];
  }
  return value.filter(isMembers).map(read);
}
