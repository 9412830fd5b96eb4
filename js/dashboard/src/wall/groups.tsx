/** The wall's groups and tiles: those that can be seen exist, and only they are asked of the stream. */

import { memo, useMemo, useRef } from "react";
import { count } from "../kit/format";
import { Light, type LightState } from "../kit/marks";
import type { Group } from "./arrange";
import { heightOf, layOut, visible, type Block, type Measures, type Shown } from "./layout";
import { Tile } from "./tile";
import { useView, type View } from "./viewport";

export type Density = "tiles" | "rows";

export interface GroupsProps {
  readonly groups: readonly Group[];
  readonly light: (name: string) => LightState;
  readonly collapsed: ReadonlySet<string>;
  readonly onToggle: (prefix: string) => void;
  readonly density: Density;
  readonly isFiltered: boolean;
}

/** In rem: the least width and the height of a tile, and what stands between two. */
const SIZES: Readonly<Record<Density, { readonly width: number; readonly height: number; readonly gap: number }>> = {
  tiles: { width: 14, height: 8.25, gap: 0.625 },
  rows: { width: 30, height: 2.5, gap: 0 },
};
const HEADING_REM = 3;
const BELOW_REM = 0.75;
/** Up to here every group has its heading, seen or not: a screen reader's list of headings is whole. */
export const HEADINGS_MAX = 300;

function measuresOf(view: View, density: Density): Measures {
  const { width, height, gap } = SIZES[density];
  const columns = Math.max(1, Math.floor((view.width + gap * view.rem) / ((width + gap) * view.rem)));
  return { columns, line: (height + gap) * view.rem, heading: HEADING_REM * view.rem, gap: BELOW_REM * view.rem };
}

export function Groups({ groups, light, collapsed, onToggle, density, isFiltered }: GroupsProps) {
  const place = useRef<HTMLDivElement>(null);
  const view = useView(place);
  const measures = useMemo(() => (view ? measuresOf(view, density) : null), [view, density]);
  const blocks = useMemo(() => (measures ? layOut(groups, collapsed, measures) : []), [groups, collapsed, measures]);
  const near = view && measures ? visible(blocks, measures, view.from, view.to) : [];
  const shown = blocks.length > HEADINGS_MAX ? near : withHeadings(blocks, near);
  return (
    <div ref={place} className={`groups as-${density}`} style={{ height: `${heightOf(blocks)}px` }}>
      {measures && shown.map((one) => (
        <GroupPart key={one.block.group.prefix} shown={one} columns={measures.columns} light={light} onToggle={onToggle} isWhole={!isFiltered} />
      ))}
    </div>
  );
}

function withHeadings(blocks: readonly Block[], near: readonly Shown[]): readonly Shown[] {
  const found = new Map(near.map((one) => [one.block, one]));
  return blocks.map((block) => found.get(block) ?? { block, first: 0, end: 0, above: 0 });
}

interface GroupPartProps {
  readonly shown: Shown;
  readonly columns: number;
  readonly light: (name: string) => LightState;
  readonly onToggle: (prefix: string) => void;
  /** All metrics of the prefix are in the group: then it may be asked for as one. */
  readonly isWhole: boolean;
}

const isSame = (a: GroupPartProps, b: GroupPartProps): boolean =>
  a.shown.block.group === b.shown.block.group && a.shown.block.isOpen === b.shown.block.isOpen && a.shown.block.top === b.shown.block.top && a.shown.block.height === b.shown.block.height &&
  a.shown.first === b.shown.first && a.shown.end === b.shown.end && a.columns === b.columns && a.light === b.light && a.onToggle === b.onToggle && a.isWhole === b.isWhole;

const GroupPart = memo(function GroupPart({ shown, columns, light, onToggle, isWhole }: GroupPartProps) {
  const { block, first, end, above } = shown;
  const { prefix, metrics } = block.group;
  const id = `group-${prefix}`;
  const members = metrics.slice(first, end);
  const asOne = isWhole && isWorthOne(members.length, metrics.length);
  return (
    <section className="group" aria-labelledby={id} style={{ transform: `translateY(${block.top}px)` }}>
      <h2 className="group-head">
        <button type="button" id={id} aria-expanded={block.isOpen} onClick={() => onToggle(prefix)}>
          <span className="group-mark" aria-hidden="true">{block.isOpen ? "▾" : "▸"}</span>
          <bdi>{prefix}</bdi>
          <span className="group-count">{count(metrics.length)}<span className="unseen"> {metrics.length === 1 ? "metric" : "metrics"}</span></span>
          <GroupLight group={block.group} light={light} />
        </button>
      </h2>
      {members.length > 0 && (
        <ul className="tiles" style={{ paddingTop: `${above}px`, gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))` }}>
          {members.map((metric, index) => (
            <Tile key={metric.metric} metric={metric} light={light(metric.metric)} wanted={asOne && metric.metric.startsWith(`${prefix}.`) ? `${prefix}.*` : metric.metric} position={first + index + 1} size={metrics.length} />
          ))}
        </ul>
      )}
    </section>
  );
}, isSame);

/** The address of the stream may have 16 KiB: a group that is mostly on screen is asked for by its prefix. */
export const AS_ONE_MIN = 12;
const isWorthOne = (seen: number, all: number): boolean => seen >= AS_ONE_MIN && all <= seen * 1.5;

function GroupLight({ group, light }: { readonly group: Group; readonly light: (name: string) => LightState }) {
  const bad = group.metrics.filter((metric) => light(metric.metric) === "bad").length;
  const warn = group.metrics.filter((metric) => light(metric.metric) === "warn").length;
  if (!bad && !warn) return null;
  return <Light state={bad ? "bad" : "warn"} word={bad ? `${bad} firing` : `${warn} pending`} />;
}
