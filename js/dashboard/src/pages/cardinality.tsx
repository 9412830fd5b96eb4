/** Cardinality: how many series there are of how many there may be, what makes them, and what to do about it. */

import { useMemo } from "react";
import { TextField } from "../kit/form";
import { count, percent, plural } from "../kit/format";
import { Badge, Code, Light } from "../kit/marks";
import { Empty } from "../kit/notes";
import { Page, Section, Toolbar } from "../kit/page";
import { Table, type Column } from "../kit/table";
import { change, link, useRoute } from "../router";
import { hasWords } from "./parts/alertfilter";
import { advice, explodingTag, share, sizeTone, sizeWords, tagHint, VALUES_MANY, type Advice } from "./parts/cardinalitywords";
import { readCardinality, type CardinalityDoc, type MetricSize, type TagCount } from "./parts/engine";
import { Meter } from "./parts/meter";
import { Part } from "./parts/part";
import { Told } from "./parts/told";
import { useRead } from "./parts/use";
import "./parts/pages.css";

const LISTED = 500;
const EVERY_SECONDS = 15;
const WORDS = { good: "There is room", warn: "Look at what grows", bad: "The limit is near or reached" } as const;

export default function Cardinality() {
  const answer = useRead(`/v1/cardinality?limit=${LISTED}`, readCardinality, EVERY_SECONDS);
  return (
    <Page title="Cardinality" lead="A series is a metric with one set of tags. Each costs memory and disk, so there is a limit; this page says what uses it.">
      <Part answer={answer} what="The account of series">
        {(doc) => (
          <>
            <Used doc={doc} />
            <div className="columns">
              <Metrics doc={doc} />
              <TagsUsed doc={doc} />
            </div>
          </>
        )}
      </Part>
    </Page>
  );
}

function Used({ doc }: { readonly doc: CardinalityDoc }) {
  const tone = sizeTone(doc);
  const advised = advice(doc);
  const words = sizeWords(doc);
  return (
    <Section title="Series">
      <div className="stack">
        <div className="finding"><Light state={tone} word={doc.overflowed > 0 ? "The limit was reached" : WORDS[tone]} /><span className="finding-words">{words}</span></div>
        <Meter share={share(doc)} tone={tone} label="Series used of the limit" words={words} />
        {advised.length > 0 && <><h3>What to do</h3><ol className="advice">{advised.map((one) => <Advised key={one.key} advice={one} />)}</ol></>}
      </div>
    </Section>
  );
}

function Advised({ advice: { text, code } }: { readonly advice: Advice }) {
  return <li><Told>{text}</Told>{code && <Code>{code}</Code>}</li>;
}

// ---- metrics

function Metrics({ doc }: { readonly doc: CardinalityDoc }) {
  const { q = "" } = useRoute().parameters;
  const found = doc.metrics.filter((one) => hasWords([one.metric, ...one.tags.map((tag) => tag.tag)], q));
  const columns = useMemo(() => metricColumns(doc.series), [doc.series]);
  return (
    <Section title="Largest metrics" note={`${plural(doc.metrics.length, "metric")}${doc.metrics.length >= LISTED ? ", the largest" : ""}. A tag with a value for nearly every series is what makes them.`}>
      <Toolbar label="Filter metrics"><TextField label="Find a metric or tag" isLabelUnseen type="search" placeholder="Find" value={q} onValue={(text) => change({ q: text })} /></Toolbar>
      <Table caption="Metrics by their number of series" columns={columns} rows={found} rowKey={(one) => one.metric} sort="-series" sortParameter="sort" limit={25} empty={<Empty title={doc.metrics.length ? "No metric matches." : "There are no series yet."} />} rowClass={(one) => (explodingTag(one) ? "is-bad" : "")} />
    </Section>
  );
}

const metricColumns = (all: number): readonly Column<MetricSize>[] => [
  { key: "metric", title: "Metric", isHead: true, value: (one) => one.metric, cell: (one) => <a href={link("metric", { name: one.metric })}><Told>{one.metric}</Told></a> },
  { key: "series", title: "Series", align: "end", value: (one) => one.series, cell: (one) => count(one.series) },
  { key: "share", title: "Of all", align: "end", value: (one) => one.series, isFixed: true, cell: (one) => percent(all ? one.series / all : 0) },
  { key: "tags", title: "Values of its tags", isFixed: true, value: () => null, cell: (one) => <TagCounts metric={one} /> },
];

const TAGS_SHOWN = 4;

function TagCounts({ metric }: { readonly metric: MetricSize }) {
  const exploding = explodingTag(metric);
  if (!metric.tags.length) return <span className="quiet-text">no tags</span>;
  return (
    <ul className="tag-list">
      {metric.tags.slice(0, TAGS_SHOWN).map((one) => (
        <li key={one.tag}><Told most={60}>{one.tag}</Told> <strong>{count(one.values)}</strong>{one.tag === exploding?.tag && <> <Badge tone="bad">explodes</Badge></>}</li>
      ))}
      {metric.tags.length > TAGS_SHOWN && <li>{`and ${metric.tags.length - TAGS_SHOWN} more`}</li>}
    </ul>
  );
}

// ---- tags

function TagsUsed({ doc }: { readonly doc: CardinalityDoc }) {
  return (
    <Section title="Tags with the most values" note="Over all metrics. What differs for each request, such as an id, an address or a time, belongs in a log, not in a tag.">
      <Table caption="Tags by their number of values" columns={TAGS} rows={doc.tags} rowKey={(one) => one.tag} sort="-values" sortParameter="tags" limit={25} empty={<Empty title="No series has a tag." />} rowClass={(one) => (isMany(one) ? "is-bad" : "")} />
    </Section>
  );
}

const isMany = (one: TagCount): boolean => one.values >= VALUES_MANY && one.values * 2 >= one.series;

const TAGS: readonly Column<TagCount>[] = [
  { key: "tag", title: "Tag", isHead: true, value: (one) => one.tag, cell: (one) => <><Told>{one.tag}</Told>{isMany(one) && <> <Badge tone="bad">explodes</Badge></>}{tagHint(one.tag) && <span className="quiet-text"> {tagHint(one.tag)}</span>}</> },
  { key: "values", title: "Values", align: "end", value: (one) => one.values, cell: (one) => count(one.values) },
  { key: "series", title: "Series with it", align: "end", value: (one) => one.series, cell: (one) => count(one.series) },
];
