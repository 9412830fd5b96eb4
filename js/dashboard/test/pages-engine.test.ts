import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { advice, explodingTag, sizeTone, sizeWords } from "../src/pages/parts/cardinalitywords";
import { checkChain, linesOf } from "../src/pages/parts/chain";
import { readCardinality, readLedger, readSlos, type Books } from "../src/pages/parts/engine";
import { identities, lossWords, rateOf, reasonRows, withReading, type Reading } from "../src/pages/parts/ledgersum";
import { lossesOf, metricLines } from "../src/pages/parts/losses";
import { budgetWords, burnStates, eventsLeft, keptText, overallWords, percentLeft, promise, spentIn } from "../src/pages/parts/slowords";

const books = (given: Partial<Books> = {}): Books => ({ arrived: 110, received: 100, kernelDrops: 10, accepted: 92, rejected: { utf8: 3, json_syntax: 5 }, values: 200, samples: 193, bad: { nan: 7 }, ...given });

describe("the ledger", () => {
  it("closes, and says so", () => {
    const found = identities(books());
    expect(found.map((one) => one.difference)).toEqual([0, 0, 0]);
    expect(found.map((one) => one.words)).toEqual([
      "110 arrived = 100 received + 10 dropped by the kernel.",
      "100 received = 92 accepted + 8 rejected whole.",
      "200 values = 193 stored as samples + 7 bad.",
    ]);
  });
  it("says when it does not", () => {
    expect(identities(books({ accepted: 91 }))[1]?.words).toMatch(/100 received is not .*: 1 datagram is missing\. This must never be/);
    expect(identities(books({ samples: 195 }))[2]?.words).toContain("2 values are too many");
  });
  it("says what was lost", () => {
    expect(lossWords(books())).toBe("10 datagrams were dropped by the kernel before the engine could read them, 8 datagrams were rejected whole and 7 values were bad.");
    expect(lossWords(books({ kernelDrops: 1, rejected: { a: 1 }, bad: { nan: 1 } }))).toBe("1 datagram was dropped by the kernel before the engine could read them, 1 datagram was rejected whole and 1 value was bad.");
    expect(lossWords(books({ kernelDrops: 0, rejected: {}, bad: { nan: 0 } }))).toBe("Nothing was lost and nothing was refused.");
  });
  it("lists reasons, the most frequent first, and no zeros", () => {
    const rows = reasonRows(books({ bad: { nan: 7, own_reason: 1, number: 0 } }));
    expect(rows.map((row) => [row.reason, row.what, row.many])).toEqual([["nan", "value", 7], ["json_syntax", "datagram", 5], ["utf8", "datagram", 3], ["own_reason", "value", 1]]);
    expect(rows[3]?.words).toBe("");
  });
  it("takes rates over ten seconds, and anew after a restart", () => {
    let readings: readonly Reading[] = [];
    for (let at = 0; at <= 20; at += 2) readings = withReading(readings, { at, books: books({ arrived: at * 5 }) });
    expect(readings[0]?.at).toBe(10);
    expect(rateOf(readings, (one) => one.arrived)).toBe(5);
    readings = withReading(readings, { at: 22, books: books({ arrived: 3 }) });
    expect(rateOf(readings, (one) => one.arrived)).toBeNull();
    expect(withReading(readings, { at: 22, books: books({ arrived: 9 }) })).toBe(readings);
  });
  it("is read with its inputs", () => {
    const doc = readLedger({ arrived: 1, received: 1, accepted: 1, rejected: {}, values: 1, samples: 1, bad: { nan: null }, inputs: { "udp:1": { arrived: 1, kernel_drops: 2 }, odd: 3 } });
    expect(doc.inputs.map(([name]) => name)).toEqual(["udp:1"]);
    expect(doc.inputs[0]?.[1].kernelDrops).toBe(2);
    expect(doc.all.bad).toEqual({ nan: 0 });
  });
});

describe("other losses", () => {
  const text = [
    "# TYPE hms_ops_notifications_dead unknown", "hms_ops_notifications_dead 3", "hms_ops_store_seconds_lost 0",
    'hms_ops_stream_events_dropped_total{client="a\\"b\\\\c"} 2', 'hms_ops_stream_events_dropped_total{client="x"} 1', 'hms_ops_values_bad_total{input="x",reason="nan"} 9',
    "hms_ops_http_refused_total{reason=\"x\"} 4", "hms_ops_ready 1", "nonsense", "hms_ops_odd NaN", "# EOF",
  ].join("\n");
  it("are read from the counters' text", () => {
    expect(metricLines(text)[2]).toEqual({ name: "hms_ops_stream_events_dropped_total", labels: { client: 'a"b\\c' }, value: 2 });
  });
  it("are told in words, those nobody has words for by their name, and what the ledger tells is left to it", () => {
    expect(lossesOf(metricLines(text)).map((one) => [one.what, one.many])).toEqual([["Seconds", 0], ["Notifications given up", 3], ["stream events dropped", 3]]);
  });
});

const slo = (group: Record<string, unknown>, given: Record<string, unknown> = {}) =>
  readSlos({ slos: [{ slo: "api", objective: 99.9, good: "api_ms <= 200", window_seconds: 2_592_000, group_by: [], source: "f:1", groups: [{ tags: {}, good: 0, total: 0, compliance: null, budget: 1, burn: {}, firing: [], state: "ok", ...group }], ...given }] })[0]!;

describe("service levels", () => {
  it("promise in a sentence", () => {
    expect(promise(slo({}))).toBe("Promised: 99.9 % of all events in 30 d are to be good: api_ms <= 200.");
    expect(promise(slo({}, { good: "web.ok", group_by: ["agency"] }))).toBe("Promised: 99.9 % of all events in 30 d are to be counted as good (web.ok), for each agency.");
  });
  it("never round up to what was not reached", () => {
    expect(keptText(1)).toBe("100 %");
    expect(keptText(0.9999999)).toBe("99.999 %");
    expect(keptText(0.98999)).toBe("98.99 %");
    expect(keptText(null)).toBe("–");
    expect([percentLeft(1), percentLeft(0.9999), percentLeft(0.0005), percentLeft(0), percentLeft(0.055), percentLeft(0.5)]).toEqual(["100 %", "more than 99.9 %", "less than 0.1 %", "0 %", "5.5 %", "50 %"]);
  });
  it("say what is left", () => {
    const one = slo({ good: 99_950, total: 100_000, compliance: 0.9995, budget: 0.5 });
    expect(eventsLeft(one, one.groups[0]!)).toBeCloseTo(50, 6);
    expect(budgetWords(one, one.groups[0]!)).toBe("50 % of the error budget is left: 50 of 100,000 events failed, 50 more may.");
    const spent = slo({ good: 900, total: 1000, budget: -99, state: "exhausted" });
    expect(budgetWords(spent, spent.groups[0]!)).toBe("The error budget is spent 100 times over: 100 of 1,000 events failed, 99 more than promised.");
    const none = slo({ state: "no data" });
    expect(budgetWords(none, none.groups[0]!)).toMatch(/^Nothing was counted/);
  });
  it("hold each pair of windows against its limit", () => {
    const one = slo({ burn: { 300: 20, 3600: 15, 1800: 7, 21600: 2, 7200: 1, 86400: 1, 259200: null }, firing: ["api.burn_fast"] });
    const states = burnStates(one, one.groups[0]!);
    expect(states.map((state) => state.state)).toEqual(["fires", "half", "ok", "no data"]);
    expect(states[0]?.words).toBe("Fires: 15 times over 1 h, 20 times over 5 min; the limit is 14.4 times.");
    const loose = slo({ burn: { 300: 1, 3600: 1 } }, { objective: 90 });
    expect(burnStates(loose, loose.groups[0]!)[0]?.state).toBe("never");
  });
  it("say when the budget is spent at this pace", () => {
    const one = slo({ budget: 0.5, burn: { 3600: 2 } });
    expect(spentIn(one, one.groups[0]!)).toBe(648_000);
    const calm = slo({ budget: 0.5, burn: { 3600: 0 } });
    expect(spentIn(calm, calm.groups[0]!)).toBeNull();
  });
  it("come to a sentence", () => {
    expect(overallWords([slo({ state: "ok" })])).toBe("1 of 1 promise is kept.");
    expect(overallWords([slo({ state: "ok" }), slo({ state: "burning" }), slo({ state: "no data" })])).toBe("1 of 3 promises is kept, 1 is broken or in danger, 1 has no data.");
  });
});

describe("cardinality", () => {
  const doc = (series: number, overflowed = 0, values = 500) =>
    readCardinality({ series, limit: 1000, overflowed, metrics: [{ metric: "visits", series: 500, tags: [{ tag: "session", values }, { tag: "page", values: 3 }] }], tags: [] });
  it("says how full it is", () => {
    expect([sizeTone(doc(10)), sizeTone(doc(750)), sizeTone(doc(950)), sizeTone(doc(10, 1))]).toEqual(["good", "warn", "bad", "bad"]);
    expect(sizeWords(doc(1000, 12))).toContain("12 samples went to __overflow__");
  });
  it("finds the tag that explodes, and only that", () => {
    expect(explodingTag(doc(10).metrics[0]!)?.tag).toBe("session");
    expect(explodingTag(doc(10, 0, 90).metrics[0]!)).toBeNull();
  });
  it("offers no command that a stranger's name could change", () => {
    const named = (metric: string, tag: string) => advice(readCardinality({ series: 950, limit: 1000, overflowed: 0, metrics: [{ metric, series: 500, tags: [{ tag, values: 500 }] }], tags: [] }))[1]?.code;
    expect(named("web.visits", "session")).toBe("hms-ops-engine series delete --dry-run 'web.visits{session=~\".+\"}'");
    for (const evil of ["a'; rm -rf ~; '", "a b", "$(id)", "`id`", "a\u202eb", "-x", ""]) expect([named(evil, "session"), named("web.visits", evil)]).toEqual(["", ""]);
  });
  it("says what to do, and nothing when all is well", () => {
    expect(advice(doc(950)).map((one) => one.key)).toEqual(["visits session", "delete", "limit"]);
    expect(advice(doc(950))[0]?.text).toContain("its name says that it tells single things apart");
    expect(advice(doc(950))[2]?.code).toBe("limits: {series: 2000}");
    expect(advice(doc(10, 0, 5))).toEqual([]);
  });
});

// ---- the chain, as storage/chain.py writes it

const digest = (text: string): Promise<string> => Promise.resolve(createHash("sha256").update(text).digest("hex"));
const NONE = "0".repeat(64);
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, one: unknown) => (typeof one === "object" && one !== null && !Array.isArray(one) ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1))) : one));

async function chain(details: readonly Record<string, unknown>[]): Promise<string[]> {
  const lines: string[] = [];
  let prev = NONE;
  for (const [number, detail] of details.entries()) {
    const record = { number, time_ns: 1, who: "ann", what: "silence", subject: "x", outcome: "ok", source: "", detail, prev };
    const hash = await digest(canonical(record));
    lines.push(canonical({ ...record, hash }));
    prev = hash;
  }
  return [canonical({ head: { first: 0, before: NONE, next: details.length, last: prev, bytes: 1, rebuilt: -1 } }), ...lines];
}

async function* each(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines;
}

describe("the audit log's chain", () => {
  const details = [{ a: 1 }, { comment: '"hash":"' + "a".repeat(64) + '","prev":"x"' }, { hash: "b".repeat(64), prev: "c".repeat(64), number: 9 }, { é: "grün" }];
  it("is whole", async () => {
    const found = await checkChain(each(await chain(details)), digest);
    expect(found).toMatchObject({ state: "whole", records: 4, last: 3 });
    expect((await checkChain(each(await chain([])), digest)).words).toBe("Whole: there are no records yet.");
  });
  it("matches a record of the engine", async () => {
    const line = '{"detail":{"version":"0.1.0"},"hash":"7a654cf6058a832520cf92b51101561fa1eca88e295e5f30fa8c2213b6718a60","number":0,"outcome":"ok","prev":"0000000000000000000000000000000000000000000000000000000000000000","source":"","subject":"engine","time_ns":1795450050121463851,"what":"start","who":"the program"}';
    const head = `{"head":{"before":"${NONE}","bytes":1,"first":0,"last":"7a654cf6058a832520cf92b51101561fa1eca88e295e5f30fa8c2213b6718a60","next":1,"rebuilt":-1}}`;
    expect((await checkChain(each([head, line]), digest)).state).toBe("whole");
  });
  it("shows what was altered, taken out, cut off, written anew", async () => {
    const lines = await chain(details);
    const tried = async (made: readonly string[]): Promise<string> => (await checkChain(each(made), digest)).words;
    expect(await tried(lines.map((line, at) => (at === 2 ? line.replace("silence", "silence!") : line)))).toMatch(/Record 1 is not what was written/);
    expect(await tried(lines.filter((_, at) => at !== 2))).toMatch(/Record 1 is missing: the next one there is 2/);
    expect(await tried(lines.slice(0, -1))).toMatch(/ends before record 3; there were 4/);
    const other = await chain([{ a: 2 }, ...details.slice(1)]);
    expect(await tried([lines[0]!, other[1]!, ...lines.slice(2)])).toMatch(/Record 0 was written anew/);
    expect(await tried(lines.slice(1))).toMatch(/head of the log is lost/);
    expect(await tried([...lines.slice(0, 2), '{"damaged":1}'])).toMatch(/Record 1 cannot be read/);
  });
  it("reads lines as they come", async () => {
    const bytes = new TextEncoder().encode("grün\nzwei\ndrei");
    const body = new ReadableStream<Uint8Array>({ start: (to) => { for (const byte of bytes) to.enqueue(new Uint8Array([byte])); to.close(); } });
    const found: string[] = [];
    for await (const line of linesOf(body)) found.push(line);
    expect(found).toEqual(["grün", "zwei", "drei"]);
  });
});
