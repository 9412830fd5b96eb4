/** How much of a stranger's text is shown, and where a line may break in it. Pure. */

import { beginning } from "@hms-ops/core";

/** Shown of a text before a reader asks for the rest. */
export const SHOWN_MAX = 300;

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
