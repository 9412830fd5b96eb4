/**
 * Texts of strangers made harmless to look at: control characters, marks that turn the direction of text, and characters
 * without width are shown as what they are. Escaping is the renderer's work (text nodes only); this is about the eye.
 * Pure. Characters that scripts need (ZWJ, ZWNJ) stay.
 */

const HIDDEN = /[\p{Cc}\p{Cs}\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;

// By name where people know one; the pictures of U+2400 are missing in many fonts.
const NAMES: Readonly<Record<number, string>> = { 0: "NUL", 7: "BEL", 8: "BS", 9: "TAB", 10: "LF", 13: "CR", 27: "ESC", 127: "DEL" };

function picture(character: string): string {
  const code = character.charCodeAt(0);
  return `‹${NAMES[code] ?? `U+${code.toString(16).toUpperCase().padStart(4, "0")}`}›`;
}

/** The text with everything unseen made visible: a line end is ‹LF›, a right-to-left override ‹U+202E›. Longer than `most` it ends in "…". */
export const visible = (text: string, most = Infinity): string =>
  beginning(text, most).replace(HIDDEN, picture) + (text.length > most ? "…" : "");

/** The beginning of a text, at most `most` characters, none of them cut in half. */
export function beginning(text: string, most: number): string {
  if (text.length <= most) return text;
  const last = text.charCodeAt(most - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? most - 1 : most);
}
