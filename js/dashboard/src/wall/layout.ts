/**
 * Where everything stands on the wall, so that only what can be seen exists: groups below each other, each a heading and
 * lines of equally high tiles. Pure; lengths are CSS pixels.
 */

import type { Group } from "./arrange";

export interface Measures {
  readonly columns: number;
  readonly line: number; // height of a line of tiles, with the gap below it
  readonly heading: number;
  readonly gap: number; // below a group
}

export interface Block {
  readonly group: Group;
  readonly isOpen: boolean;
  readonly top: number;
  readonly height: number;
}

export interface Shown {
  readonly block: Block;
  /** Which of the group's metrics: [first, end). */
  readonly first: number;
  readonly end: number;
  /** Height of the lines above the first one. */
  readonly above: number;
}

export function layOut(groups: readonly Group[], collapsed: ReadonlySet<string>, measures: Measures): readonly Block[] {
  let top = 0;
  return groups.map((group) => {
    const isOpen = !collapsed.has(group.prefix);
    const lines = isOpen ? Math.ceil(group.metrics.length / measures.columns) : 0;
    const height = measures.heading + lines * measures.line + measures.gap;
    const block = { group, isOpen, top, height };
    top += height;
    return block;
  });
}

export const heightOf = (blocks: readonly Block[]): number => {
  const last = blocks[blocks.length - 1];
  return last ? last.top + last.height : 0;
};

/** What stands between `from` and `to`. */
export function visible(blocks: readonly Block[], measures: Measures, from: number, to: number): readonly Shown[] {
  const shown: Shown[] = [];
  for (let at = firstBelow(blocks, from); at < blocks.length; at++) {
    const block = blocks[at];
    if (!block || block.top >= to) break;
    shown.push(linesOf(block, measures, from, to));
  }
  return shown;
}

function linesOf(block: Block, { columns, line, heading }: Measures, from: number, to: number): Shown {
  const many = block.isOpen ? block.group.metrics.length : 0;
  const start = block.top + heading;
  const firstLine = Math.min(Math.max(0, Math.floor((from - start) / line)), Math.ceil(many / columns));
  const endLine = Math.max(firstLine, Math.ceil((to - start) / line));
  const first = Math.min(firstLine * columns, many);
  return { block, first, end: Math.min(endLine * columns, many), above: firstLine * line };
}

/** The first block that ends below `from`, by halving. */
function firstBelow(blocks: readonly Block[], from: number): number {
  let low = 0;
  let high = blocks.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const block = blocks[middle];
    if (block && block.top + block.height > from) high = middle;
    else low = middle + 1;
  }
  return low;
}
