// Against a real engine: tests/test_javascript.py starts one and says where it is.
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { Client, ProblemError, type AlertsAnswer, type Cell } from "@hms-ops/client";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { json, serving, until } from "../../client/test/serving.js";
import { createLive, type Live } from "../src/index.js";
import { Store } from "../src/live.js";
import { Windows } from "../src/windows.js";
import { script, type Script } from "./scripts.js";

const HTTP = process.env.HMS_OPS_TEST_HTTP ?? "";
const UDP = process.env.HMS_OPS_TEST_UDP ?? "";
const ENGINE = { HMS_OPS_HTTP: HTTP, HMS_OPS_URL: UDP };
const name = (text: string): string => `js.${text}_${Math.random().toString(36).slice(2, 8)}`;
const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** Asks until it is so, fifteen seconds at most. */
async function eventually(what: string, isTrue: () => Promise<unknown>): Promise<void> {
  const end = Date.now() + 15_000;
  while (!(await isTrue())) {
    if (Date.now() > end) throw new Error(`not within 15 s: ${what}`);
    await pause(50);
  }
}

let client: Client;
const lives: Live[] = [];
const running: Script[] = [];

/** Samples ten times a second, until the test is over. */
let feeding: ReturnType<typeof setInterval> | undefined;
function feed(metric: string, value: () => number, tags?: Record<string, string>): void {
  clearInterval(feeding);
  feeding = setInterval(() => client.metric(metric, value(), { kind: "timer", tags }), 100);
}

function open(): Live {
  lives.push(createLive(client, { shared: false }));
  return lives.at(-1) as Live;
}

function run(text: string, environment: Record<string, string> = {}): Script {
  running.push(script(text, { ...ENGINE, ...environment }));
  return running.at(-1) as Script;
}

describe.skipIf(!HTTP)("with a real engine", () => {
  beforeEach(() => void (client = new Client({ url: UDP, http: HTTP })));
  afterEach(() => {
    clearInterval(feeding);
    for (const live of lives.splice(0)) live.close();
    for (const one of running.splice(0)) one.kill();
    client.close();
  });

  it("what is emitted is there, with its tags", async () => {
    const [timer, gauge] = [name("t_ms"), name("g")];
    client.metric(timer, 240, { tags: { agency: "irs", path: "/a,b|c\n" } });
    client.gauge(gauge, -5.5, { tags: { city: 'a"b' } });
    const series = async (metric: string) => (await client.query(metric).catch(() => null))?.series[0];
    const isKnown = async (metric: string) => (await series(metric))?.points[0]?.[1] != null;
    await eventually("both are known", async () => (await isKnown(timer)) && (await isKnown(gauge)));
    expect(await series(timer)).toMatchObject({ metric: timer, tags: { agency: "irs", path: "/a_b_c_" }, points: [[expect.any(Number), 240]] });
    expect(await series(gauge)).toMatchObject({ tags: { city: 'a"b' }, points: [[expect.any(Number), -5.5]] });
    expect(client.counters()).toMatchObject({ sent: 2, dropped: 0 });
  });

  it("refusals say what is wrong", async () => {
    const error = await client.query("avg(").catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ProblemError);
    expect((error as ProblemError).problem).toMatchObject({ status: 400, type: "urn:hms-ops:problem:expression", line: 1 });
    await expect(client.alert(name("bad"), { if: "avg(x) >", notify: "log:" })).rejects.toMatchObject({ status: 400 });
  });

  it("rules are set and alerts fired", async () => {
    const [rule, alert] = [name("rule"), name("alert")];
    expect(await client.alert(rule, { if: "avg(x.y_ms) > 200", for: "3m", notify: "log:" })).toMatchObject({ alert: rule, for: "3m" });
    await client.alertNow(alert, { value: 480, tags: { agency: "irs" }, ttl: "1m", severity: "info", reason: "because" });
    const { alerts, rules } = await client.request<AlertsAnswer>("/v1/alerts");
    expect(alerts.find((one) => one.name === alert)).toMatchObject({ state: "firing", value: 480, tags: { agency: "irs" }, severity: "info" });
    expect(rules.map((one) => one.alert)).toContain(rule);
  });

  it("a live store has each second, what was before, series and alerts", async () => {
    const metric = name("live_ms");
    feed(metric, () => 100, { agency: "irs" });
    await pause(3500);
    const live = open();
    live.watch(metric, () => undefined);
    live.watchSeries(metric, () => undefined);
    const changes: string[] = [];
    live.watchEvents((event) => event.type === "alert" && event.name === metric.replace("live_ms", "alert") && changes.push(event.change));
    live.watchAlerts(() => undefined);
    await until("what was before", () => live.cells(metric).length >= 2);
    const begin = live.cells(metric).length;
    await until("three seconds more", () => live.cells(metric).length >= begin + 3);
    const cells: readonly Cell[] = live.cells(metric);
    const times = cells.map(({ time }) => time);
    // A busy machine may feed nothing for a second: the engine knows which there are.
    const { series } = await client.query(`count("${metric}")`, { start: times[0]!, end: times.at(-1)! + 1, step: 1 });
    expect(times).toEqual(series[0]!.points.filter(([, count]) => count).map(([time]) => time));
    expect(cells.every(({ value, count, kind }) => value === 100 && count > 0 && kind === "timer")).toBe(true);
    expect([...live.seriesCells(metric).keys()]).toEqual(['{agency="irs"}']);
    await client.alertNow(metric.replace("live_ms", "alert"), { value: 1 });
    await until("the alert", () => changes.join() === "firing");
    await until("it is listed", () => live.alerts().alerts.some((one) => one.name === metric.replace("live_ms", "alert")));
    expect(live.state()).toMatchObject({ connection: "live", error: null });
  });

  it("metric.mean is the engine's mean", async () => {
    const metric = name("mean_ms");
    let n = 0;
    feed(metric, () => n++);
    await pause(12_000);
    const store = new Store(client, { shared: false });
    lives.push(store);
    const windows = new Windows(() => store);
    await until("it is known", () => !Number.isNaN(windows.mean(metric, "10m")));
    clearInterval(feeding);
    const ofEngine = async () => (await client.query(`avg("${metric}", 10m)`)).series[0]!.points.at(-1)![1] as number;
    const isMean = (value: number): boolean => Math.abs(value - (n - 1) / 2) < 1e-6; // of 0, 1, … n − 1
    await eventually("all is sealed, and came", async () => isMean(await ofEngine()) && isMean(windows.mean(metric, "10m")));
  });

  it("timed() of the founding document sends what a handler took", async () => {
    const ended = run(`
      import { timed } from "./metrics.js";
      const handler = timed(async (req, res) => { res.done = req.n; }, "pay");
      const res = {};
      await handler({ n: 7 }, res);
      console.log(res.done);
    `);
    expect([await ended.ended, ended.written()]).toEqual([0, "7\n"]);
    const count = async () => (await client.query("count(finance.api_ms, 1m)").catch(() => null))?.series[0]?.points.at(-1)?.[1];
    await eventually("it is counted", async () => ((await count()) ?? 0) >= 1);
  });

  it("its alert is set, and the process ends by itself", async () => {
    const ended = run(`import "./latency.js";`);
    expect(await ended.ended).toBe(0);
    const { rules } = await client.request<AlertsAnswer>("/v1/alerts");
    expect(rules.find(({ alert }) => alert === "finance.latency_high")).toMatchObject({ for: "3m", notify: ["sms:+1-555-ONCALL"] });
  });

  it("its alert ends no process when the engine is away, and says so", async () => {
    const ended = run(`import "./latency.js";`, { HMS_OPS_HTTP: "http://127.0.0.1:9" });
    expect(await ended.ended).toBe(0);
    expect(ended.written()).toMatch(/^hms-ops: alert finance\.latency_high: no engine answers at http:\/\/127\.0\.0\.1:9: /);
  });

  it("its anomaly script and its hook heal: the metric doubles, the alert fires, the action is asked for", async () => {
    const act = await serving();
    act.answer = (_, response) => json(response, 202, { run: 1 });
    feed("finance.api_ms", () => 100);
    const both = run(`import "./anomaly.js"; import "./scaleUp.js";`, { HMS_ACT_URL: act.url });
    await pause(5000); // a mean of some seconds
    expect(act.asked).toEqual([]);
    feed("finance.api_ms", () => 480);
    await until("the action is asked for", () => act.asked.length, 15_000).catch((error: Error) => {
      throw new Error(`${error.message}\n${both.written()}`);
    });
    const { path, headers, body } = act.asked[0]!;
    const asked = JSON.parse(body) as Record<string, unknown>;
    expect([path, asked.template, asked.input]).toEqual(["/v1/run", "infra.scale-db", { replicas: 2 }]);
    expect(headers["idempotency-key"]).toBe(asked.idempotency_key);
    const { alerts } = await client.request<AlertsAnswer>("/v1/alerts");
    expect(alerts.find((one) => one.name === "finance.anomaly")).toMatchObject({ state: "firing" });
    await pause(3000); // it goes on firing: one episode, one run
    expect(act.asked).toHaveLength(1);
    expect(both.written()).toBe("");
    await act.close();
  });
});

describe.skipIf(!HTTP)("the guide", () => {
  const guide = readFileSync(new URL("../../../docs/javascript.md", import.meta.url), "utf8").split("\n## React")[0] as string;
  const examples = guide.split("```javascript\n").slice(1).map((block) => block.split("```")[0] as string);

  it.each(examples)("has an example that runs: %s", async (example) => {
    const [http, udp] = [new URL(HTTP).host, new URL(UDP).host];
    const one = script(example.replace("127.0.0.1:8126", http).replace("127.0.0.1:8125", udp), ENGINE);
    const code = await one.ended;
    expect(code, one.written()).toBe(0);
    const shown = /console\.log\(.*\); \/\/ (.+)/.exec(example);
    if (shown) expect(one.written()).toMatch(new RegExp(`^${(shown[1] as string).replace(/\d+$/, "\\d+")}\n$`));
    else expect(one.written()).not.toMatch(/error/i);
  });
});

describe.skipIf(!HTTP)("a process", () => {
  const receiving = async (text: string): Promise<[number | null, string[], number]> => {
    const socket = createSocket("udp4");
    const datagrams: string[] = [];
    socket.on("message", (datagram) => datagrams.push(datagram.toString()));
    await new Promise<void>((done) => socket.bind(0, "127.0.0.1", done));
    const begin = Date.now();
    const code = await script(text, { HMS_OPS_URL: `udp://localhost:${socket.address().port}` }).ended;
    const ms = Date.now() - begin;
    await until("all is received", () => datagrams.join("\n").includes("last"));
    socket.close();
    return [code, datagrams, ms];
  };

  it("ends when its work is done, and what it emitted last arrives", async () => {
    const [code, datagrams, ms] = await receiving(`import { ops } from "@hms-ops/client"; ops.metric("last", 1);`);
    expect([code, datagrams]).toEqual([0, ["last:1|g"]]);
    expect(ms).toBeLessThan(15_000);
  });

  it("that exits at once has sent what it emitted, once its socket was open", async () => {
    const [code, datagrams] = await receiving(`
      import { ops } from "@hms-ops/client";
      ops.metric("first", 1);
      setInterval(() => {
        if (!ops.counters().sent) return;
        for (let n = 0; n < 200; n++) ops.metric("some.metric", n);
        ops.metric("last", 1);
        process.exit(3);
      }, 10);
    `);
    expect([code, datagrams.join("\n").split("\n").length]).toEqual([3, 202]);
  });

  it("ends by close() after it has watched", async () => {
    const one = script(`
      import { close, onMetric, metric } from "@hms-ops/core";
      onMetric("x", () => undefined);
      metric.mean("x", "10m");
      setTimeout(close, 500);
    `, ENGINE);
    expect([await one.ended, one.written()]).toEqual([0, ""]);
  });
});
