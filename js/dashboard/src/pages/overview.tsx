/** The wall: what needs attention, then every metric by itself as it arrives, in groups by the first part of its name. */

import { useCallback, useEffect, useMemo, useRef } from "react";
import { announce } from "../kit/announce";
import { useAlerts } from "@hms-ops/react";
import { useDocument } from "../kit/document";
import { Button, Choice, SelectField, TextField } from "../kit/form";
import { count, plural } from "../kit/format";
import { Boundary, Empty, ErrorNote, Loading } from "../kit/notes";
import { Code } from "../kit/marks";
import { Page, Toolbar } from "../kit/page";
import { change, useParameter } from "../router";
import { Connection } from "../shell/bar";
import { toggleWall } from "../shell/shortcuts";
import { useIsStale } from "../shell/state";
import { arrange, countOf, sorts, type Metric, type Sort } from "../wall/arrange";
import { Attention } from "../wall/attention";
import { Groups } from "../wall/groups";
import { lightsOf } from "../wall/rules";
import { METRICS_EVERY_SECONDS, METRICS_PATH, metricsOf, type MetricsAnswer } from "../wall/source";
import "../style/wall.css";

export default function Overview() {
  const { data, error, loading, reload } = useDocument<MetricsAnswer>(METRICS_PATH, { every: METRICS_EVERY_SECONDS });
  const isWall = useParameter("wall")[0] === "1";
  const isStale = useIsStale(); // then the banner says it
  const metrics = metricsOf(data);
  const series = useMemo(() => metrics.reduce((sum, metric) => sum + metric.series, 0), [metrics]);
  return (
    <Page title="Overview" isBare>
      {isWall && <WallHead />}
      <Boundary what="The summary"><Attention metrics={metrics.length} series={series} /></Boundary>
      {error && !(data && isStale) && <ErrorNote title={data ? "The list of metrics could not be read again; new ones are missing" : "The metrics could not be read"} error={error} retry={() => void reload()} />}
      {loading && !data && <Loading label="Reading the metrics" />}
      {data && !metrics.length && <NoMetrics />}
      {metrics.length > 0 && <Boundary what="The metrics"><Metrics metrics={metrics} isComplete={data?.is_complete ?? true} isWall={isWall} /></Boundary>}
    </Page>
  );
}

function WallHead() {
  useLeaving();
  return (
    <div className="wall-head">
      <strong>HMS-OPS</strong>
      <Connection />
      <Button size="small" look="quiet" onClick={toggleWall}>Leave the wall</Button>
    </div>
  );
}

/** Escape leaves the wall: the browser takes it for the full screen, else it comes here. */
function useLeaving(): void {
  useEffect(() => {
    const leave = (): void => change({ wall: null }, true);
    const left = (): void => void (document.fullscreenElement || leave());
    const press = (event: KeyboardEvent): void => void (event.key === "Escape" && !document.querySelector("dialog[open]") && leave());
    document.addEventListener("fullscreenchange", left);
    document.addEventListener("keydown", press);
    return () => {
      document.removeEventListener("fullscreenchange", left);
      document.removeEventListener("keydown", press);
    };
  }, []);
}

function NoMetrics() {
  return (
    <Empty title="No metric has arrived yet.">
      <p>The engine listens. Send it one and it appears here by itself:</p>
      <p><Code>{'echo "hello.world:1|c" > /dev/udp/127.0.0.1/8125'}</Code></p>
      <p><a href="#/ledger">The ledger</a> shows whether anything arrived and was turned away.</p>
    </Empty>
  );
}

interface MetricsProps {
  readonly metrics: readonly Metric[];
  readonly isComplete: boolean;
  readonly isWall: boolean;
}

function Metrics({ metrics, isComplete, isWall }: MetricsProps) {
  const [filter, setFilter] = useParameter("filter");
  const [sort, setSort] = useParameter("sort", isWall ? "state" : "name"); // on a wall what is wrong stands first
  const [density, setDensity] = useParameter("density", "tiles");
  const [closed] = useParameter("closed");
  const { alerts, rules } = useAlerts();
  const light = useMemo(() => lightsOf(rules, alerts), [rules, alerts]);
  const groups = useMemo(() => arrange(metrics, filter, sort as Sort, light), [metrics, filter, sort, light]);
  const collapsed = useMemo(() => new Set(closed.split(",").filter(Boolean)), [closed]);
  const toggle = useToggle(collapsed);
  const found = countOf(groups);
  useFoundWords(filter, found);
  const allClosed = groups.every((group) => collapsed.has(group.prefix));
  return (
    <>
      {!isWall && (
        <div className="wall-tools"><Toolbar label="What is shown">
          <TextField label="Filter" type="search" data-filter="" placeholder="part of a name, kind:timer, -is:silent" spellCheck={false} value={filter} onValue={setFilter} />
          <SelectField label="Order" value={sort} onValue={setSort} choices={sorts} />
          <Choice label="Density" value={density} onValue={setDensity} choices={[["tiles", "Tiles"], ["rows", "Rows"]]} />
          <Button onClick={() => change({ closed: allClosed ? null : groups.map((group) => group.prefix).join(",") })}>{allClosed ? "Open all groups" : "Close all groups"}</Button>
          <Button onClick={toggleWall}>Wall</Button>
        </Toolbar></div>
      )}
      <p className="found">
        {filter ? `${count(found)} of ${plural(metrics.length, "metric")} ${found === 1 ? "matches" : "match"} “${filter}”.` : `${plural(metrics.length, "metric")} in ${plural(groups.length, "group")}.`}
        {!isComplete && " The list was cut: there are more."}
      </p>
      {!found && <Empty title="No metric matches."><Button onClick={() => setFilter("")}>Show all metrics</Button></Empty>}
      <Groups groups={groups} light={light} collapsed={collapsed} onToggle={toggle} density={density === "rows" ? "rows" : "tiles"} isFiltered={filter !== ""} />
    </>
  );
}

/** Which groups are closed stands in the address; a comma in a prefix cannot be told from one between two. */
function useToggle(collapsed: ReadonlySet<string>): (prefix: string) => void {
  return useCallback(
    (prefix: string) => {
      const next = new Set(collapsed);
      if (!next.delete(prefix)) next.add(prefix);
      change({ closed: [...next].join(",") });
    },
    [collapsed],
  );
}

const REST_MS = 700;

/** Says how many match, once the filter rests; not when a metric arrives. */
function useFoundWords(filter: string, found: number): void {
  const latest = useRef(found);
  latest.current = found;
  const isFirst = useRef(true);
  useEffect(() => {
    if (isFirst.current) return void (isFirst.current = false);
    const timer = setTimeout(() => announce(filter ? `${plural(latest.current, "metric")} found` : "All metrics are shown"), REST_MS);
    return () => clearTimeout(timer);
  }, [filter]);
}
