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

const LIGHT_WORDS: Readonly<Record<LightState, string>> = { ok: "OK", bad: "Not OK", waiting: "Waiting", unknown: "Unknown" };
const RING = "M8 2a6 6 0 1 0 .01 0z";
const SHAPES: Partial<Record<LightState, string>> = {
  ok: "M8 1a7 7 0 1 0 .01 0z",
  bad: "M8 0 16 8 8 16 0 8z",
};
const MARKS: Partial<Record<LightState, string>> = { ok: "m4.5 8 2.5 2.5 4.5-5", bad: "m5.5 5.5 5 5m0-5-5 5" };

export function StatusLight({ label, ok, state, detail }: StatusLightProps) {
  const heard = useHearing();
  const shown = state ?? (heard === "live" ? (ok == null ? "unknown" : ok ? "ok" : "bad") : heard);
  const more = detail ?? (state == null && heard === "unknown" ? "no connection" : undefined);
  return (
    <span className="ops-light" data-state={shown}>
      <span role="status">
        <svg className="ops-light-shape" viewBox="0 0 16 16" aria-hidden="true">
          <path d={SHAPES[shown] ?? RING} />
          {MARKS[shown] && <path className="ops-light-mark" d={MARKS[shown]} />}
        </svg>
        {label}{": "}
        <strong>{LIGHT_WORDS[shown]}</strong>
      </span>
      {more && <span>{more}</span>}
    </span>
  );
}
