/** The units of metrics, as `describe` or the end of their names says: one document for all pages. */

import { useMemo } from "react";
import { METRICS_PATH } from "../../wall/source";
import { list, membersOf, text } from "./read";
import { useRead } from "./use";

const PATH = METRICS_PATH;

const readUnits = (value: unknown): ReadonlyMap<string, string> =>
  new Map(list(membersOf(value, "list of metrics"), "metrics", (from) => [text(from, "metric"), text(from, "unit")] as const));

const NONE: ReadonlyMap<string, string> = new Map();

/** Metric → unit; empty until it is read, and where it cannot be. */
export function useUnits(): ReadonlyMap<string, string> {
  const { data } = useRead(PATH, readUnits, 0);
  return useMemo(() => data ?? NONE, [data]);
}
