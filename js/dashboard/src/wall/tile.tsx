/** One metric on the wall: name, light, value, unit, the last minute. Only those that can be seen exist. */

import { memo, useCallback, useId, useSyncExternalStore } from "react";
import type { Cell } from "@hms-ops/client";
import { useLive, useLiveState } from "@hms-ops/react";
import { plural, span, withUnit } from "../kit/format";
import { Light, type LightState } from "../kit/marks";
import { link } from "../router";
import { shortName, type Metric } from "./arrange";
import { HEIGHT, sparkPath, SPARK_SECONDS, WIDTH } from "./spark";

export interface TileProps {
  readonly metric: Metric;
  readonly light: LightState;
  /** What is asked of the stream for it: its name, or its group as `prefix.*`. */
  readonly wanted: string;
  readonly position: number;
  readonly size: number;
}

/** A metric that is silent for longer is told its age: an old value is not the present one. */
export const SILENT_SECONDS = 3;

const READ_AS: Readonly<Record<string, string>> = { counter: "sum of the second", timer: "mean", histogram: "mean", distribution: "mean", gauge: "last", set: "members" };
const WORDS: Readonly<Record<LightState, string>> = { good: "OK", bad: "Firing", warn: "Pending", waiting: "Waiting", off: "" };

function useLatest(name: string, wanted: string): { readonly cells: readonly Cell[]; readonly second: number | null } {
  const live = useLive();
  const watch = useCallback((changed: () => void) => live.watch(wanted, changed, { seconds: SPARK_SECONDS }), [live, wanted]);
  const cells = useSyncExternalStore(watch, () => live.cells(name));
  return { cells, second: useLiveState().second };
}

export const Tile = memo(function Tile({ metric, light, wanted, position, size }: TileProps) {
  const { cells, second } = useLatest(metric.metric, wanted);
  const id = useId();
  const last = cells.at(-1);
  const silent = last && second !== null ? second - last.time : null;
  const isSilent = !metric.rule && silent !== null && silent > SILENT_SECONDS; // a rule speaks when it changes
  const state = last ? light : light === "off" ? "off" : light;
  return (
    <li className={`tile is-${state}${isSilent ? " is-silent" : ""}`} aria-posinset={position} aria-setsize={size}>
      <a className="tile-name" aria-describedby={`${id}l ${id}v ${id}n`} href={link("metric", { name: metric.metric })} title={metric.help ? `${metric.metric}: ${metric.help}` : metric.metric}>
        <span className="unseen">{metric.metric.slice(0, metric.metric.length - shortName(metric.metric).length)}</span>
        <bdi>{shortName(metric.metric)}</bdi>
      </a>
      <span className="tile-light" id={`${id}l`}>{state !== "off" && <Light state={state} word={WORDS[state]} />}</span>
      <span className="tile-value value" id={`${id}v`}>{metric.rule ? ruleWords(light) : <Value metric={metric} cell={last} />}</span>
      {!metric.rule && <Spark cells={cells} second={second} />}
      <span className="tile-note" id={`${id}n`}>{noteOf(metric, isSilent ? silent : null, second !== null && !last)}</span>
    </li>
  );
});

function Value({ metric, cell }: { readonly metric: Metric; readonly cell: Cell | undefined }) {
  const [value, unit] = parted(withUnit(cell ? cell.value : metric.value, `${metric.unit}${metric.kind === "counter" ? "/s" : ""}`));
  return <>{value}<span className="tile-unit">{unit}</span></>;
}

/** "212 ms" as number and unit, which is written smaller. */
function parted(text: string): readonly [string, string] {
  const at = text.search(/[^\d.,e+-]/);
  return at > 0 ? [text.slice(0, at), text.slice(at)] : [text, ""];
}

const ruleWords = (light: LightState): string => (light === "bad" ? "Firing" : light === "warn" ? "Pending" : "Not firing");

function noteOf(metric: Metric, silent: number | null, isUnheard: boolean): string {
  if (silent !== null) return `${span(silent)} old`;
  if (isUnheard && metric.value === null && !metric.rule) return "silent for a minute or more";
  if (metric.rule) return "rule";
  const read = READ_AS[metric.kind];
  return `${metric.kind}${read ? `, ${read}` : ""}${metric.series > 1 ? `, ${plural(metric.series, "series", "series")}` : ""}`;
}

function Spark({ cells, second }: { readonly cells: readonly Cell[]; readonly second: number | null }) {
  return (
    <svg className="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true" focusable="false">
      <path d={second === null ? "" : sparkPath(cells, second)} />
    </svg>
  );
}
