/** Every piece on one page, fed by a stream that a clock makes up: to look at, in both themes, and to try by hand. */
import { createRoot } from "react-dom/client";
import { useState } from "react";
import { AlertList, MetricChart, OpsProvider, StatusLight, type Anomaly } from "@hms-ops/react";
import { alertOf, answerOf, cellOf, FakeLive } from "../test/fake.js";
import Board from "../../examples/LatencyBoard.js";
import "../src/style.css";
import "./page.css";

const asked = new URLSearchParams(location.search);
const theme = asked.get("theme");
if (theme) document.documentElement.dataset["theme"] = theme;

const live = new FakeLive();
const noise = (at: number, seed: number): number => (Math.abs(Math.sin(at * 12.9898 + seed * 78.233) * 43758.5453) % 1) - 0.5;
const now = Math.floor(Date.now() / 1000);
const latency = (at: number): number => 140 + 30 * Math.sin(at / 40) + 25 * noise(at, 1) + (now - at < 45 && now - at > 15 ? 70 : 0);

function tick(at: number): void {
  const isGap = now - at > 22 && now - at < 29;
  const kept = live as unknown as { kept: Map<string, unknown[]> };
  const push = (metric: string, cell: unknown): void => void kept.kept.set(metric, [...(kept.kept.get(metric) ?? []), cell]);
  const mean = latency(at);
  push("finance.api_ms", cellOf("finance.api_ms", at, mean, "timer", { count: 40, min: mean * (0.7 + noise(at, 2) / 5), max: mean * (1.25 + noise(at, 3) / 3) }));
  if (!isGap) push("db.queue", cellOf("db.queue", at, Math.round(1200 + 900 * Math.sin(at / 15) + 300 * noise(at, 4))));
  push("calls", cellOf("calls", at, 52_000_000 + 4_000_000 * noise(at, 5), "counter"));
  push("finance.latency_high", cellOf("finance.latency_high", at, mean > 200 ? 1 : 0));
  live.second(at);
}
for (let at = now - 60; at <= now; at++) tick(at);
if (!asked.has("live")) setInterval(() => tick(Math.floor(Date.now() / 1000)), 1000);

live.answer = ({ path, parameters }) => {
  if (path !== "/v1/query") return {};
  const expr = String(parameters["expr"]), end = Number(parameters["end"] ?? now), start = Number(parameters["start"] ?? end - 900);
  const step = Math.max(1, Math.ceil((end - start) / Number(parameters["points"] ?? 300)));
  const points = (seed: number, scale: number) => Array.from({ length: Math.floor((end - start) / step) }, (_, place): [number, number | null] => {
    const at = Math.floor(start / step) * step + place * step;
    return [at, seed === 2 && place % 50 > 40 ? null : scale * (1 + 0.3 * Math.sin(at / 90 + seed) + 0.15 * noise(at, seed))];
  });
  if (expr.includes("finance.api_ms")) return answerOf(expr, step, points(1, expr.startsWith("min") ? 90 : expr.startsWith("max") ? 220 : 140));
  const agencies = ["irs", "ssa", "va", "usda", "hud", "dol", "gsa", "nasa", "epa", "fema"].slice(0, Number(asked.get("lines") ?? 6));
  return { expr, step, series: agencies.map((agency, seed) => ({ metric: "memory", tags: { agency }, points: points(seed, 1.5e9 + seed * 4e8) })) };
};
live.setAlerts([
  alertOf("finance.latency_high", { value: 215.3, tags: { agency: "irs" }, since: now - 340, reason: "avg(finance.api_ms) = 215 ms > 200 ms for 3m" }),
  alertOf("db.queue_long", { state: "pending", severity: "ticket", value: 2100, since: now - 42, reason: "max(db.queue) = 2,100 > 2,000", acknowledged: null }),
  alertOf("disk.full", { severity: "page", value: 96.2, since: now - 86_400 * 2, reason: "disk.used = 96.2 % > 95 %", acknowledged: { who: "ann", at: now - 900, comment: "cleaning up", until: null }, silenced_by: "a791111c8351", told_at: now - 3600 }),
]);

const anomalies: readonly Anomaly[] = [{ from: now - 45, to: now - 15, name: "above its moving mean" }];

function Page() {
  const [range, setRange] = useState<{ from: number; to: number } | null>(null);
  return (
    <OpsProvider live={live}>
      <MetricChart metric="finance.api_ms" title="Finance API latency" unit="ms" anomalies={anomalies} syncKey="one"
        thresholds={[{ value: 200, name: "limit" }]} />
      <MetricChart metric="db.queue" title="Write queue" unit="" syncKey="one" />
      <MetricChart metric="calls" unit="/s" title="Calls" syncKey="one" />
      <MetricChart metric="finance.api_ms" title="Latency, 15 minutes" unit="ms" range={900} from={range?.from} to={range?.to} onRange={setRange} syncKey="two"
        thresholds={[{ value: 190, name: "warn", tone: "warn" }]} />
      <MetricChart exprs={["memory"]} title="Memory by agency" unit="bytes" range={900} syncKey="two" />
      <MetricChart metric="nothing.here" title="Nobody sends this" unit="%" />
      <section>
        <p><StatusLight label="Latency OK" ok={false} detail="215 ms" /></p>
        <p><StatusLight label="Queue" ok detail="1,240 waiting" /></p>
        <p><StatusLight label="Storage" state="waiting" /></p>
        <p><StatusLight label="Remote" state="unknown" /></p>
      </section>
      <div className="wide"><AlertList actions unitOf={({ name }) => (name.includes("latency") ? "ms" : name.includes("disk") ? "%" : "")} /></div>
      <div className="wide"><Board /></div>
    </OpsProvider>
  );
}

/** With `?live`: the engine that serves this origin's /v1. */
function LivePage() {
  return (
    <>
      <MetricChart metric="finance.api_ms" unit="ms" title="Finance API latency" thresholds={[{ value: 200, name: "limit" }]} syncKey="a" />
      <MetricChart metric="finance.api_ms" unit="ms" title="Latency, 15 minutes" range={900} syncKey="a" />
      <MetricChart metric="finance.calls" unit="/s" title="Calls" range={900} syncKey="a" />
      <MetricChart exprs={["avg(finance.api_ms) GROUP BY agency"]} title="Latency by agency" unit="ms" range={600} every={2} />
      <MetricChart metric="finance.latency_high" title="The rule" />
      <div className="wide"><AlertList actions /></div>
      <div className="wide"><Board /></div>
    </>
  );
}

createRoot(document.getElementById("root")!).render(asked.has("live") ? <LivePage /> : <Page />);
