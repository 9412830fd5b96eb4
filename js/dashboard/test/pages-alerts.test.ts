import { ruleRow } from "../src/pages/alerts-rules";
import { describe, expect, it } from "vitest";
import { filterAlerts, hasTags, severitiesOf, sortAlerts } from "../src/pages/parts/alertfilter";
import { alertKey, filled, overall, standings } from "../src/pages/parts/alertwords";
import { readAlerts, readExplain, type AlertDoc, type RuleDoc, type SilenceDoc } from "../src/pages/parts/documents";
import { durationProblem, durationSeconds, silenceBody, silenceTimes, silenceWords } from "../src/pages/parts/silencing";
import { momentsOf } from "../src/pages/parts/timeline";

const NOW = 1_795_450_600;
const alert = (given: Partial<AlertDoc> = {}): AlertDoc => ({
  name: "db.write_slow", state: "firing", value: 240, tags: {}, since: NOW - 60, severity: "page", episode: "1795450540", reason: "",
  rule: "avg(db.write_ms) > 200", acknowledged: null, silencedBy: "", heldBy: "", toldAt: null, next: null, ...given,
});
const rule = (given: Partial<RuleDoc> = {}): RuleDoc => ({
  name: "db.write_slow", if: "", for: "2s", keep: "0s", recover: "", where: "", groupBy: [], nodata: "keep", severity: "page", notify: [], every: "1s",
  policy: "desk", tags: { team: "db" }, annotations: {}, source: "rules.yaml:1", unit: "ms", state: "watching", problem: "", ...given,
});
const silence = (given: Partial<SilenceDoc> = {}): SilenceDoc => ({
  id: "abc", state: "active", match: "{}", starts: NOW - 10, ends: NOW + 3600, who: "bob", comment: "upgrade", created: NOW - 10, endedBy: "", ...given,
});
const texts = (given: Partial<AlertDoc>, silences: readonly SilenceDoc[] = []): string[] => standings(alert(given), silences, NOW).map((one) => one.text);

describe("how an alert stands", () => {
  it("says that nobody has it", () => expect(texts({})).toEqual(["Nobody has taken it."]));
  it("says who has it, until when and why", () => {
    const acknowledged = { by: "ann", at: NOW - 30, until: null, comment: "looking" };
    expect(texts({ acknowledged, heldBy: "acknowledged by ann" })[0]).toMatch(/^ann has it since \d\d:\d\d:\d\d: “looking”\.$/);
  });
  it("names the silence, and one it does not know by its number", () => {
    const given = { silencedBy: "abc", heldBy: "silenced by abc" };
    expect(texts(given, [silence()])[0]).toMatch(/^Silenced by bob until \d\d:\d\d:\d\d, 1 h more: “upgrade”\.$/);
    expect(texts(given)).toEqual(["Silenced by abc."]);
  });
  it("says what else keeps it quiet, and whom the policy tells next", () => {
    const next = { policy: "desk", level: 2, at: NOW + 120, notify: ["sms:+1-555-0101"] };
    const [untaken, held, coming] = texts({ heldBy: "inhibited by line-is-cut", next });
    expect(untaken).toBe("Nobody has taken it.");
    expect(held).toBe("Nobody is told now: inhibited by line-is-cut.");
    expect(coming).toMatch(/^Next in 2 min \(\d\d:\d\d:\d\d\), level 2 of the policy desk: sms:\+1-555-0101\.$/);
  });
  it("says that pending tells nobody", () => expect(texts({ state: "pending" })).toEqual(["Nobody is told before it fires."]));
});

describe("a rule in the list", () => {
  it("is calm, pending or firing by its alerts", () => {
    expect(ruleRow(rule(), []).state).toBe("Calm");
    expect(ruleRow(rule(), [alert({ state: "pending" })]).is).toBe("pending");
    expect(ruleRow(rule(), [alert(), alert()]).state).toBe("2 firing");
  });
  it("is not calm when it cannot fire", () => {
    const row = ruleRow(rule({ state: "never matched", problem: "no metric 'x' was ever seen" }), []);
    expect(row).toMatchObject({ state: "Never matched", is: "never matched", light: "waiting" });
  });
});

describe("what the list comes to", () => {
  it("teaches when it is empty", () => {
    expect(overall([], 12)).toBe("No alert is firing. 12 rules are watched.");
    expect(overall([], 1)).toBe("No alert is firing. 1 rule is watched.");
    expect(overall([], 0)).toContain("There are no rules yet");
  });
  it("counts those nobody has", () => {
    const taken = alert({ acknowledged: { by: "ann", at: null, until: null, comment: "" } });
    expect(overall([alert(), taken, alert({ state: "pending" })], 3)).toBe("2 alerts are firing, 1 of them without anybody who has taken it, 1 is pending.");
    expect(overall([alert()], 3)).toBe("1 alert is firing, without anybody who has taken it.");
    expect(overall([taken], 3)).toBe("1 alert is firing, taken or silenced.");
  });
});

describe("annotations", () => {
  it("are filled like those of receivers", () => {
    const given = alert({ tags: { agency: "irs", name: "tag of that name" }, value: 240.123 });
    expect(filled("{name} of {agency}, {team}: {value} {{x}} {unknown} {tag.name}", given, rule())).toBe("db.write_slow of irs, db: 240 {x} {unknown} tag of that name");
  });
  it("evaluate nothing and look at nothing twice", () => {
    const given = alert({ tags: { a: "{name}", __proto__: "x" } as Record<string, string> });
    expect(filled("{a} {constructor} {__proto__} {tag.toString}", given, rule())).toBe("{name} {constructor} {__proto__} {tag.toString}");
  });
});

describe("filter and order", () => {
  const all = [
    alert({ name: "b.ticket", severity: "ticket", tags: { agency: "irs" } }),
    alert({ name: "c.pending", state: "pending", severity: "page" }),
    alert({ name: "a.page", tags: { agency: "va", region: "east" } }),
    alert({ name: "d.taken", acknowledged: { by: "ann", at: null, until: null, comment: "" } }),
    alert({ name: "e.quiet", silencedBy: "abc" }),
  ];
  const none = { state: "", severity: "", text: "", tag: "" };
  const names = (found: readonly AlertDoc[]): string => found.map((one) => one.name.slice(0, 1)).join("");
  it("shows what needs somebody first", () => expect(names(sortAlerts(all, ""))).toBe("abdec"));
  it("keeps one order for equals", () => expect(names(sortAlerts([...all].reverse(), ""))).toBe(names(sortAlerts(all, ""))));
  it("filters by state, severity, words and tags", () => {
    expect(names(filterAlerts(all, { ...none, state: "open" }))).toBe("ba");
    expect(names(filterAlerts(all, { ...none, state: "silenced" }))).toBe("e");
    expect(names(filterAlerts(all, { ...none, state: "pending" }))).toBe("c");
    expect(names(filterAlerts(all, { ...none, severity: "ticket" }))).toBe("b");
    expect(names(filterAlerts(all, { ...none, text: "PAGE avg" }))).toBe("a");
    expect(names(filterAlerts(all, { ...none, text: "east" }))).toBe("a");
    expect(names(filterAlerts(all, { ...none, tag: "agency" }))).toBe("ba");
  });
  it("reads tags as people write them", () => {
    const tags = { agency: "irs", path: "a=b" };
    expect(hasTags(tags, ' agency = irs , path="a=b"')).toBe(true);
    expect(hasTags(tags, "agency:irs")).toBe(true);
    expect(hasTags(tags, "agency=va")).toBe(false);
    expect(hasTags(tags, "toString")).toBe(false);
    expect(hasTags(tags, " , ")).toBe(true);
  });
  it("lists severities by their weight", () => expect(severitiesOf([alert({ severity: "info" }), alert({ severity: "ticket" }), alert(), alert({ severity: "own" })])).toEqual(["page", "own", "ticket", "info"]));
});

describe("a silence", () => {
  it.each([["90m", 5400], ["1h30m", 5400], [" 2 h ", 7200], ["1.5d", 129_600], ["15s", 15]])("lasts %s", (text, seconds) => expect(durationSeconds(text)).toBe(seconds));
  it.each(["", "0s", "h", "-1h", "2", "1y", "400d", "1e9h", "2h;x"])("does not last %j", (text) => expect(durationProblem(text)).not.toBeNull());
  it("is of one alert or of the rule", () => {
    expect(silenceBody({ agency: "irs" }, "instance", "2h", "why", "ann")).toEqual({ for: "2h", comment: "why", tags: { agency: "irs" }, who: "ann" });
    expect(silenceBody({ agency: "irs" }, "rule", "2h", "why", "")).toEqual({ for: "2h", comment: "why" });
    expect(silenceWords("slow", { agency: "irs" }, "instance", 3)).toBe("Only slow with agency=irs.");
    expect(silenceWords("slow", { agency: "irs" }, "rule", 3)).toContain("All alerts of slow. It has 3 alerts now");
  });
  it("says when it begins and ends", () => {
    expect(silenceTimes(silence(), NOW)).toMatch(/^until .*, 1 h more$/);
    expect(silenceTimes(silence({ state: "pending", starts: NOW + 600, ends: NOW + 1200 }), NOW)).toMatch(/^begins in 10 min, until .*, 20 min more$/);
    expect(silenceTimes(silence({ state: "ended", ends: NOW - 60, endedBy: "ann" }), NOW)).toBe("ended 1 min ago by ann");
  });
});

describe("an episode's timeline", () => {
  const event = (kind: string, members: Record<string, unknown>) => ({ time: members["time"] as number, kind, members });
  const events = [
    event("alert", { time: NOW - 5000, name: "db.write_slow", tags: {}, state: "firing", episode: 1 }),
    event("notification", { time: NOW - 57, name: "db.write_slow", tags: {}, episode: 1795450540, receiver: "log:", outcome: "delivered", state: "firing", alerts: 1 }),
    event("alert", { time: NOW - 60, name: "db.write_slow", tags: {}, state: "pending", episode: 0 }),
    event("alert", { time: NOW - 58, name: "db.write_slow", tags: {}, state: "firing", episode: 1795450540 }),
    event("decision", { time: NOW - 58, name: "db.write_slow", tags: null, decision: "told", reason: "first", receiver: "log:", episode: 1795450540, alerts: 7 }),
    event("action", { time: NOW - 50, alert: "db.write_slow", tags: {}, event: "outcome", action: "scale", outcome: "HTTP 200", episode: 1795450540 }),
    event("alert", { time: NOW - 40, name: "db.write_slow", tags: { host: "other" }, state: "firing", episode: 1795450540 }),
    event("audit", { time: NOW - 40, name: "db.write_slow", what: "ack" }),
  ];
  it("is of this alert and this episode, oldest first", () => {
    const found = momentsOf(events, alert());
    expect(found.map((one) => one.kind)).toEqual(["alert", "alert", "decision", "notification", "action"]);
    expect(found[0]?.words).toBe("Pending: the condition became true.");
    expect(found[2]?.words).toBe("Told the log (7 alerts): it has just fired.");
    expect(momentsOf(events, alert({ rule: "" }))[1]?.words).toBe("Fired, without a rule.");
    expect(found[3]?.words).toBe("Delivered, the log: db.write_slow is firing.");
  });
});

describe("documents", () => {
  it("are read as the engine writes them", () => {
    const read = readAlerts({
      alerts: [{ name: "x", state: "firing", value: null, tags: { a: "b" }, since: 1, severity: "page", episode: 12, acknowledged: { who: "ann", at: 2, until: null, comment: "c" }, next_escalation: { policy: "p", level: 2, at: 3, notify: ["log:"] } }],
      rules: [{ alert: "x", if: "a > 1", recover: null, group_by: ["a"], unit: "ms" }],
    });
    expect(read.alerts[0]).toMatchObject({ episode: "12", value: null, acknowledged: { by: "ann" }, next: { level: 2 } });
    expect(read.rules[0]).toMatchObject({ name: "x", recover: "", unit: "ms" });
    expect(alertKey(read.alerts[0]!)).toBe('["x","{a=\\"b\\"}"]');
  });
  it("do without what an older engine does not say", () => {
    expect(readExplain({ name: "x", alerts: [], decisions: [] })).toEqual({ decisions: [], words: [], parts: [], drawn: null });
    expect(() => readAlerts({ alerts: "no" })).toThrow(/list of alerts/);
  });
});
