/** What a tag's values have to do with it: a line for each, and each one's present value, live. */

import { useCallback, useMemo, useSyncExternalStore } from "react";
import type { Cell } from "@hms-ops/client";
import { MetricChart, useLive } from "@hms-ops/react";
import { useDocument } from "../kit/document";
import { Choice } from "../kit/form";
import { count, withUnit } from "../kit/format";
import { Name } from "../kit/marks";
import { Empty, ErrorNote, Loading } from "../kit/notes";
import { Section } from "../kit/page";
import { Table, type Column } from "../kit/table";
import { usePaused } from "../shell/state";
import { useParameter } from "../router";
import { byTag, statOf } from "./expressions";
import { poolByTag, type TagRow } from "./pool";
import { useRange } from "./range-picker";

interface TagsAnswer {
  readonly tags: readonly { readonly tag: string; readonly values: readonly string[]; readonly count: number }[];
}

export interface MetricLook {
  readonly name: string;
  readonly kind: string;
  readonly unit: string;
}

export function ByTag({ name, kind, unit }: MetricLook) {
  const tags = useDocument<TagsAnswer>(`/v1/tags?metric=${encodeURIComponent(name)}`, { every: 30 });
  const [kept, setTag] = useParameter("tag");
  const known = tags.data?.tags ?? [];
  const tag = known.some((one) => one.tag === kept) ? kept : (known.find((one) => one.count > 1) ?? known[0])?.tag ?? "";
  if (tags.error && !tags.data) return <Section title="By tag"><ErrorNote title="The tags could not be read" error={tags.error} /></Section>;
  if (!tags.data) return <Section title="By tag"><Loading /></Section>;
  if (!tag) return <Section title="By tag"><Empty title="This metric has no tags." /></Section>;
  const chooser = <Choice label="Tag" value={tag} onValue={setTag} choices={known.map((one) => [one.tag, `${one.tag} (${count(one.count)})`] as const)} />;
  return (
    <Section title="By tag" note="One line and one row for each value of the tag." actions={chooser}>
      <div className="stack">
        <TagChart name={name} kind={kind} unit={unit} tag={tag} />
        <TagTable key={tag} name={name} kind={kind} unit={unit} tag={tag} />
      </div>
    </Section>
  );
}

function TagChart({ name, kind, unit, tag }: MetricLook & { readonly tag: string }) {
  const { seconds, fixed } = useRange();
  const exprs = useMemo(() => [byTag(name, kind, tag)], [name, kind, tag]);
  const per = statOf(kind) === "rate" ? `${unit}/s` : unit;
  return <MetricChart title={`${name} by ${tag}`} exprs={exprs} unit={per} {...(fixed ?? { range: seconds })} every={5} height={220} syncKey="metric" paused={usePaused()} />;
}

function TagTable({ name, kind, unit, tag }: MetricLook & { readonly tag: string }) {
  const live = useLive();
  const watch = useCallback((changed: () => void) => live.watchSeries(name, changed), [live, name]);
  const cells: ReadonlyMap<string, readonly Cell[]> = useSyncExternalStore(watch, () => live.seriesCells(name));
  const rows = useMemo(() => poolByTag(cells, tag, kind), [cells, tag, kind]);
  const per = kind === "counter" ? `${unit}/s` : unit;
  const columns: readonly Column<TagRow>[] = [
    { key: "value", title: tag, value: (row) => row.label, cell: (row) => <Name>{row.label}</Name> },
    { key: "now", title: "Newest", value: (row) => row.now, cell: (row) => <span className="value">{withUnit(row.now, per)}</span>, align: "end" },
    { key: "minute", title: "Last minute", value: (row) => row.minute, cell: (row) => withUnit(row.minute, per), align: "end" },
    { key: "samples", title: "Samples a minute", value: (row) => row.samples, cell: (row) => count(row.samples), align: "end" },
    { key: "series", title: "Series", value: (row) => row.series, cell: (row) => count(row.series), align: "end", isExtra: true },
  ];
  return <Table caption={`${name} by ${tag}, live`} columns={columns} rows={rows} rowKey={(row) => row.key} sort="value" sortParameter={null} limit={20} empty={<Empty title="No sample of this metric in the last minute." />} />;
}
