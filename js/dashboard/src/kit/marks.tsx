/** Small marks: a moment, a badge, a light. Colour never stands alone: there is a word, and a light has a shape. */

import type { ReactNode } from "react";
import { useNow } from "./clock";
import { ago, clockTime, dateTime, NONE, span, utc } from "./format";

export type TimeLook = "ago" | "clock" | "full" | "for";

/** A moment in Unix seconds: "3 min ago" (default), the time of day, date and time, or how long it lasts ("for"). */
export function Time({ at, look = "ago" }: { readonly at: number | null | undefined; readonly look?: TimeLook }) {
  if (at === null || at === undefined || !Number.isFinite(at)) return <>{NONE}</>;
  return <time dateTime={utc(at)} title={`${dateTime(at)} (${utc(at)})`}>{look === "clock" ? clockTime(at) : look === "full" ? dateTime(at) : <Age at={at} isFor={look === "for"} />}</time>;
}

function Age({ at, isFor }: { readonly at: number; readonly isFor: boolean }) {
  const now = useNow();
  return <>{isFor ? span(Math.floor(now - at)) : ago(at, now)}</>;
}

export type BadgeTone = "plain" | "good" | "bad" | "warn" | "info";

export function Badge({ tone = "plain", children }: { readonly tone?: BadgeTone; readonly children: ReactNode }) {
  return <span className={`badge tone-${tone}`}>{children}</span>;
}

export type LightState = "good" | "bad" | "warn" | "waiting" | "off";

const SHAPES: Readonly<Record<LightState, string>> = { good: "●", bad: "▲", warn: "◆", waiting: "○", off: "–" };
const STATES: Readonly<Record<LightState, string>> = { good: "good", bad: "bad", warn: "pending", waiting: "waiting", off: "off" };

/** A light with its word; `word` replaces the state's own. Small ones show the shape and say the word. */
export function Light({ state, word, isSmall = false }: { readonly state: LightState; readonly word?: string; readonly isSmall?: boolean }) {
  const text = word ?? STATES[state];
  return (
    <span className={`light light-${state}`} title={isSmall ? text : undefined}>
      <span className="light-mark" aria-hidden="true">{SHAPES[state]}</span>
      <span className={isSmall ? "unseen" : undefined}>{text}</span>
    </span>
  );
}

/** What someone else has named: shown as it is, breaks anywhere, in the figures' face. */
export function Name({ children }: { readonly children: string }) {
  return <span className="name" dir="auto">{children}</span>;
}

/** An expression or other text of a program. */
export function Code({ children }: { readonly children: string }) {
  return <code className="code" dir="ltr">{children}</code>;
}
