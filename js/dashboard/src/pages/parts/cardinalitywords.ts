/** How many series there are, what makes them, and what to do about it. Pure. */

import { count, percent, plural } from "../../kit/format";
import type { CardinalityDoc, MetricSize, TagCount } from "./engine";

export type SizeTone = "good" | "warn" | "bad";

/** From here on the limit is worth a thought, and from there on it is near. */
export const THOUGHT_SHARE = 0.7;
export const NEAR_SHARE = 0.9;
/** A tag of so many values is looked at, and it explodes when most series of its metric have a value of their own. */
export const VALUES_MANY = 100;
export const EXPLODING_SHARE = 0.5;

export const share = (doc: CardinalityDoc): number => (doc.limit > 0 ? doc.series / doc.limit : 0);

export function sizeTone(doc: CardinalityDoc): SizeTone {
  if (doc.overflowed > 0 || share(doc) >= 1) return "bad";
  return share(doc) >= NEAR_SHARE ? "bad" : share(doc) >= THOUGHT_SHARE ? "warn" : "good";
}

export function sizeWords(doc: CardinalityDoc): string {
  const used = `${count(doc.series)} of ${count(doc.limit)} series are used, ${percent(share(doc))}`;
  if (doc.overflowed > 0) return `${used}. The limit was reached: ${plural(doc.overflowed, "sample")} went to __overflow__, where they are counted but cannot be told apart.`;
  if (share(doc) >= NEAR_SHARE) return `${used}. The limit is near; beyond it new series are folded into __overflow__.`;
  return share(doc) >= THOUGHT_SHARE ? `${used}. There is still room, and it is time to look at what grows.` : `${used}.`;
}

/** Whether a tag makes the series of its metric: most of them have a value of their own. */
export const isExploding = (tag: TagCount, series: number): boolean =>
  tag.values >= VALUES_MANY && series > 0 && tag.values / series >= EXPLODING_SHARE;

/** The tag that makes most of a metric's series; null where none stands out. */
export function explodingTag(metric: MetricSize): TagCount | null {
  const largest = [...metric.tags].sort((a, b) => b.values - a.values)[0];
  return largest && isExploding(largest, metric.series) ? largest : null;
}

const IDENTITIES = /(^|[._-])(id|uuid|guid|session|request|trace|span|user|email|ip|address|hash|token|time|timestamp|url|path|query)([._-]|$)/i;

/** What a tag looks like, where that explains its many values. */
export const tagHint = (tag: string): string => (IDENTITIES.test(tag) ? "its name says that it tells single things apart" : "");

export interface Advice {
  readonly key: string;
  readonly text: string;
  /** Something to paste: a setting, a command. "" for none. */
  readonly code: string;
}

// A metric's name is a stranger's text, and this is pasted into a shell: only names that mean nothing to one are offered.
const HARMLESS = /^[A-Za-z_][A-Za-z0-9_.]*$/;

const deletion = (metric: string, tag: string): string =>
  HARMLESS.test(metric) && HARMLESS.test(tag) ? `hms-ops-engine series delete --dry-run '${metric}{${tag}=~".+"}'` : "";

/** What to do, the most useful first; none when all is well. */
export function advice(doc: CardinalityDoc): readonly Advice[] {
  const exploding = doc.metrics.map((metric) => ({ metric, tag: explodingTag(metric) })).filter((one) => one.tag !== null).slice(0, 3);
  const found: Advice[] = exploding.map(({ metric, tag }) => ({
    key: `${metric.metric} ${tag?.tag}`,
    text: `${metric.metric} has ${plural(tag?.values ?? 0, "value")} of the tag ${tag?.tag}${tagHint(tag?.tag ?? "") ? ` (${tagHint(tag?.tag ?? "")})` : ""}. Leave the tag away where the metric is sent, or send something coarser; what differs for every call belongs in a log.`,
    code: "",
  }));
  for (const { metric, tag } of exploding.slice(0, 1)) {
    found.push({
      key: "delete",
      text: "Series that are no longer sent give their place back after an idle time. To have it at once, delete them; history of them goes too. This shows which they are; without --dry-run they are deleted.",
      code: deletion(metric.metric, tag?.tag ?? ""),
    });
  }
  if (sizeTone(doc) !== "good") found.push({ key: "limit", text: "If all of them are meant, raise the limit in engine.yaml; memory is used only by series that are there.", code: `limits: {series: ${count(doc.limit * 2).replaceAll(",", "")}}` });
  return found;
}
