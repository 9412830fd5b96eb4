/** Which texts of an annotation become links: plain web addresses, and nothing a reader could be tricked with. Pure. */

import { visible } from "@hms-ops/core";

export const LINK_CHARS_MAX = 2_000;

export interface WebLink {
  readonly href: string;
  /** Where it leads, said before anybody goes there. */
  readonly host: string;
}

/**
 * The web address a text is, whole; null for anything else: another scheme, credentials before the host, blanks or
 * unseen characters anywhere.
 */
export function webLink(text: string): WebLink | null {
  const given = text.trim();
  if (!/^https?:\/\//i.test(given) || given.length > LINK_CHARS_MAX) return null;
  if (/\s/.test(given) || visible(given) !== given) return null;
  try {
    const url = new URL(given);
    const isPlain = (url.protocol === "https:" || url.protocol === "http:") && !url.username && !url.password;
    return isPlain && url.host ? { href: url.href, host: url.host } : null;
  } catch {
    return null;
  }
}
