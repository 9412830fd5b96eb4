import { describe, expect, it } from "vitest";
import { detailWords, whatWords } from "../src/pages/parts/auditwords";
import { decisionWords, notificationSubject, receiversOf, receiverWords } from "../src/pages/parts/decisionwords";
import { readDecision } from "../src/pages/parts/documents";
import { episodesOf, score, shades, stateOf } from "../src/pages/parts/episodes";
import { anomalyOf, decisionOf, notificationOf, readActions, readEvents, runStepOf, type Happening } from "../src/pages/parts/happenings";
import { durationOf, mayRunWords, ruleWords, runLook, runWords, stoppedWords, verifiedWords } from "../src/pages/parts/runwords";

describe("actions that may run", () => {
  it("are counted", () => {
    expect(mayRunWords(1)).toBe("Actions may run: 1 action waits for its alert.");
    expect(mayRunWords(2)).toBe("Actions may run: 2 actions wait for their alerts.");
  });
});

const NOW = 1_795_450_600;
const event = (kind: string, members: Record<string, unknown>): Happening => ({ time: members["time"] as number, kind, members });

describe("decisions", () => {
  const said = (decision: string, reason: string, receiver = "webhook:ops", alerts = 1): string => decisionWords(readDecision({ decision, reason, receiver, alerts, tags: {} }));
  it.each([
    ["told", "first", "Told webhook:ops: it has just fired."],
    ["told", "escalation level 2", "Told webhook:ops: escalation level 2."],
    ["not told", "nothing new", "Did not tell webhook:ops: there is nothing new to tell."],
    ["held", "silenced by abc", "Held back from webhook:ops: silenced by abc."],
    ["acknowledged", "by ann: looking", "Acknowledged by ann: looking."],
    ["silence", "silenced by abc: bob, why", "Silenced by abc: bob, why."],
    ["own", "of another version", "Own: of another version."],
  ])("%s, %s", (decision, reason, words) => expect(said(decision, reason)).toBe(words));
  it("name the log and many alerts", () => expect(said("told", "repeat", "log:", 12)).toBe("Told the log (12 alerts): it still fires, and the time to say so again has come."));
  it("are read from the journal", () => expect(decisionOf(event("decision", { tags: null, name: "x", alerts: 3 }))).toMatchObject({ tags: null, alerts: 3 }));
});

describe("attempts", () => {
  const attempt = (receiver: string, outcome: string, time: number, detail = "") => notificationOf(event("notification", { time, receiver, outcome, detail, name: "x", state: "firing", alerts: 1 }));
  it("come to a state of each receiver, the worst first", () => {
    const found = receiversOf([attempt("good", "delivered", 1), attempt("was-bad", "dead", 1, "HTTP 400"), attempt("was-bad", "delivered", 2), attempt("bad", "delivered", 1), attempt("bad", "retry", 2, "cannot connect")]);
    expect(found.map((one) => one.receiver)).toEqual(["bad", "was-bad", "good"]);
    expect(receiverWords(found[0]!)).toBe("1 notification delivered, 1 attempt failed and tried again. The newest one did not arrive: cannot connect.");
    expect(receiverWords(found[1]!)).toBe("1 notification delivered, 1 notification given up. The newest one arrived.");
  });
  it("say what they were about", () => {
    expect(notificationSubject(attempt("x", "delivered", 1))).toBe("x is firing");
    expect(notificationSubject({ ...attempt("x", "delivered", 1), state: "resolved", alerts: 3 })).toBe("x has ended, and 2 others");
  });
});

describe("anomalies", () => {
  const told = (state: string, second: number, value: number, given: Record<string, unknown> = {}) => anomalyOf(event("anomaly", { time: second + 1, name: "db.anomaly", state, second, metric: "db.write_ms", tags: { host: "a" }, value, baseline: 100, ...given }));
  it("are episodes with their strangest value", () => {
    const [one] = episodesOf([told("started", 10, 250), told("held", 12, 430), told("ended", 60, 105)]);
    expect(one).toMatchObject({ began: 10, ended: 60, value: 430, expected: 100, wasHeld: true });
    expect(score(one!)).toBe(4.3);
  });
  it("last only while their alert fires; an end that was never written is not known", () => {
    const [second, first] = episodesOf([told("started", 10, 250), told("started", 90, 300)]);
    const firing = new Set(['["db.anomaly","{host=\\"a\\"}"]']);
    expect(stateOf(second!, firing)).toBe("lasts");
    expect(stateOf(second!, new Set())).toBe("lost");
    expect(first?.began).toBe(10);
    expect(stateOf(first!, firing)).toBe("lost");
  });
  it("whose beginning is gone have an end", () => expect(episodesOf([told("ended", 60, 105)])[0]).toMatchObject({ began: null, ended: 60, value: null }));
  it("shade each second once", () => {
    const all = episodesOf([told("started", 10, 250), told("started", 20, 250, { tags: { host: "b" } }), told("ended", 40, 1), told("ended", 60, 1, { tags: { host: "b" } }), told("started", 100, 300)]);
    expect(shades(all, new Set(['["db.anomaly","{host=\\"a\\"}"]']), 130)).toEqual([{ from: 10, to: 60, name: "db.anomaly" }, { from: 100, to: 130, name: "db.anomaly" }]);
    expect(shades(all, new Set(), 130).at(-1)).toMatchObject({ from: 100, to: 101 });
  });
  it("of every metric say in a tag which one", () => expect(told("started", 1, 2, { metric: "*", tags: { metric: "m", host: "a" } })).toMatchObject({ metric: "m", tags: { host: "a" }, alertTags: { metric: "m", host: "a" } }));
  it("do not divide by nothing", () => expect(score({ value: 5, expected: 0 })).toBeNull());
});

describe("runs", () => {
  const run = (given: Record<string, unknown> = {}) => readActions({ stopped_by: "", actions: [], runs: [{ key: "k", action: "a", alert: "x", tags: {}, time: NOW, state: "succeeded", outcome: "HTTP 200", ...given }] }).runs[0]!;
  it("that did not help are no success", () => {
    expect(runLook(run({ verified: "cleared" })).word).toBe("Helped");
    expect(runLook(run({ verified: "not cleared within 30 s" }))).toEqual({ tone: "bad", word: "Did not help" });
    expect(runLook(run({ verified: "" })).word).toBe("Being verified");
    expect(runLook(run()).word).toBe("Ran");
    expect(runLook(run({ state: "failed" })).tone).toBe("bad");
  });
  it("say what came of them", () => {
    expect(runWords(run({ state: "failed", outcome: "exit code 1", owed: "" }))).toBe("exit code 1. A person was told.");
    expect(runWords(run({ state: "dry" }))).toContain("Nothing was done");
    expect(verifiedWords(run({ verified: "", verify_until: NOW + 20 }), NOW)).toBe("Waiting whether the alert clears, 20 s left");
  });
  it("take as long as from intent to outcome", () => {
    const steps = readEvents({ events: [{ kind: "action", time: NOW + 2.5, event: "outcome", key: "k" }, { kind: "action", time: NOW + 9, event: "verified", key: "k" }] }).map(runStepOf);
    expect(durationOf(run(), steps)).toBe(2.5);
    expect(durationOf(run({ key: "other" }), steps)).toBeNull();
  });
  it("follow a rule in a sentence", () => {
    const { actions } = readActions({ stopped_by: "", actions: [{ action: "x -> t", on: "x", template: "infra.scale-db", command: [], cooldown: 600, limit_per_hour: 6, dry_run: true, verify: 120 }], runs: [] });
    expect(ruleWords(actions[0]!)).toBe("When x fires, it runs the template infra.scale-db, at most 6 times an hour and not again within 10 min, then waits 2 min for the alert to clear. Dry run: nothing is done, it is only recorded.");
  });
  it("are stopped by somebody", () => {
    expect(stoppedWords("", null)).toBe("");
    expect(stoppedWords("ann", null)).toMatch(/^All actions are stopped by ann\./);
  });
});

describe("the audit log", () => {
  it("is in words", () => {
    expect(whatWords("acknowledge")).toBe("took an alert");
    expect(whatWords("some-new-thing")).toBe("some new thing");
    expect(detailWords({ comment: "why", tags: { a: "b" }, until: null, empty: "", command: ["/bin/heal", "db"], none: {}, key: "x", after_seconds: 3 })).toBe("comment: why; tags: a=b; command: /bin/heal db; after seconds: 3");
  });
});
