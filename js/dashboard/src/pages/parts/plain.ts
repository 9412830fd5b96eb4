/**
 * Texts of strangers made harmless to look at: control characters, marks that turn the direction of text, and characters
 * without width are shown as what they are. Escaping is the renderer's work (text nodes only); this is about the eye.
 * Pure. Characters that scripts need (ZWJ, ZWNJ) stay.
 */

/** Shown of a text before a reader asks for the rest. */
export const SHOWN_MAX = 300;

// eslint-disable-next-line no-control-regex
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

// By name where people know one; the pictures of U+2400 are missing in many fonts.
const NAMES: Readonly<Record<number, string>> = { 0: "NUL", 7: "BEL", 8: "BS", 9: "TAB", 10: "LF", 13: "CR", 27: "ESC", 127: "DEL" };

function picture(character: string): string {
  const code = character.charCodeAt(0);
  const name = NAMES[code];
  return name ? `‹${name}›` : `‹U+${code.toString(16).toUpperCase().padStart(4, "0")}›`;
}

/** The text with everything unseen made visible: a line end is ‹LF›, a right-to-left override ‹U+202E›. */
export const visible = (text: string): string => text.replace(HIDDEN, picture);

/** The beginning of a text, at most `most` characters, none of them cut in half. */
export function beginning(text: string, most = SHOWN_MAX): string {
  if (text.length <= most) return text;
  const last = text.charCodeAt(most - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? most - 1 : most);
}

/** Longest run of a name without a place to break. */
export const RUN_MAX = 20;

/** A name in pieces between which a line may break: behind its dots and dashes, and in runs that have none. */
export const breakable = (text: string): readonly string[] =>
  text.split(/(?<=[^\s._/:,;=&?-][._/:,;=&?-])(?=[^\s._/:,;=&?>-])/u).flatMap((piece) => [...runsOf(piece)]);

function* runsOf(piece: string): Generator<string> {
  if (piece.length <= RUN_MAX || /\s/.test(piece)) return yield piece;
  for (let rest = piece; rest; ) {
    const run = beginning(rest, RUN_MAX);
    yield run;
    rest = rest.slice(run.length);
  }
}
