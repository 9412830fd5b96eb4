/** A light: colour, shape and words. It speaks only when it changes. */
import { useHearing } from "./hooks.js";

export type LightState = "ok" | "bad" | "waiting" | "unknown";

export interface StatusLightProps {
  label: string;
  ok?: boolean | null | undefined;
  /** Says it outright; then the stream is not asked whether it has news. */
  state?: LightState | undefined;
  /** More words: since when, how much. */
  detail?: string | undefined;
}

export const LIGHT_WORDS: Readonly<Record<LightState, string>> = { ok: "OK", bad: "Not OK", waiting: "Waiting", unknown: "Unknown" };
const RING = "M8 2a6 6 0 1 0 .01 0z";
const SHAPES: Readonly<Record<LightState, string>> = {
  ok: "M8 1a7 7 0 1 0 .01 0z",
  bad: "M8 0 16 8 8 16 0 8z",
  waiting: RING,
  unknown: RING,
};
const MARKS: Partial<Record<LightState, string>> = { ok: "m4.5 8 2.5 2.5 4.5-5", bad: "m5.5 5.5 5 5m0-5-5 5" };

export function StatusLight({ label, ok, state, detail }: StatusLightProps) {
  const heard = useHearing();
  const shown = state ?? (heard === "live" ? (ok == null ? "unknown" : ok ? "ok" : "bad") : heard);
  const more = detail ?? (state == null && heard === "unknown" ? "no connection" : undefined);
  return (
    <span className="ops-light" data-state={shown}>
      <span role="status">
        <LightShape state={shown} />
        <span className="ops-light-label">{label}:</span>{" "}
        <span className="ops-light-word">{LIGHT_WORDS[shown]}</span>
      </span>
      {more && <span className="ops-light-detail">{more}</span>}
    </span>
  );
}

/** The shape alone, for tables whose words stand beside it. */
export function LightShape({ state }: { state: LightState }) {
  return (
    <svg className="ops-light-shape" data-state={state} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={SHAPES[state]} />
      {MARKS[state] && <path className="ops-light-mark" d={MARKS[state]} />}
    </svg>
  );
}
