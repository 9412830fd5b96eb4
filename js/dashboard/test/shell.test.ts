// @vitest-environment jsdom
import { describe, expect, test, vi } from "vitest";
import type { LiveState } from "@hms-ops/core";
import { freshness, isStale } from "../src/shell/fresh";
import { isTyping, meaning, type Shortcut } from "../src/shell/keys";
import { rank, score, type Goal } from "../src/shell/rank";
import { gapSentence, isHeld, sentence } from "../src/shell/teller";
import { engineNow, heard, skew } from "../src/kit/clock";
import { titleOf } from "../src/kit/title";

vi.hoisted(() => {
  window.matchMedia ??= () => new EventTarget() as MediaQueryList; // uPlot asks when it is loaded; jsdom has none
});

describe("the palette", () => {
  const goal = (text: string, kind: Goal["kind"] = "metric"): Goal => ({ text, kind, note: "", href: `#/${text}` });
  const goals = [goal("Alerts", "page"), goal("Audit", "page"), goal("db.write_ms"), goal("db.write_slow", "alert"), goal("web.adb_writes"), goal("Refund rush", "dashboard"), goal("big.database.writer")];
  const found = (query: string): string[] => rank(goals, query).map((one) => one.text);

  test("shows what there is few of, before anything is typed", () => {
    expect(found("")).toEqual(["Alerts", "Audit", "db.write_slow", "Refund rush"]);
  });
  test("finds letters in order, and nothing else", () => {
    expect(found("dbwr")).toEqual(expect.arrayContaining(["db.write_ms", "db.write_slow"]));
    expect(found("zzz")).toEqual([]);
    expect(score("ab", "ba")).toBeNull();
  });
  test("puts the start of a word before its middle, and the whole name first", () => {
    expect(found("db.write_ms")[0]).toBe("db.write_ms");
    expect(found("al")[0]).toBe("Alerts");
    expect(score("rush", "refund rush")).toBeGreaterThan(score("rush", "thrush") ?? 0);
  });
  test("is bounded", () => {
    expect(rank(Array.from({ length: 5000 }, (_, at) => goal(`m.${at}`)), "m", 40)).toHaveLength(40);
  });
});

describe("keys", () => {
  const shortcut = (keys: string): Shortcut => ({ keys, does: keys, run: vi.fn() });
  const map = ["?", "g a", "g o", "p"].map(shortcut);
  test("mean a shortcut, the start of a chord, or nothing", () => {
    expect(meaning(map, "", "?")).toBe(map[0]);
    expect(meaning(map, "", "g")).toBe("chord");
    expect(meaning(map, "g", "a")).toBe(map[1]);
    expect(meaning(map, "g", "p")).toBeNull();
    expect(meaning(map, "", "a")).toBeNull();
  });
  test("are text in a field", () => {
    const [field, box, area] = [document.createElement("input"), document.createElement("input"), document.createElement("textarea")];
    box.type = "checkbox";
    expect([isTyping(field), isTyping(box), isTyping(area), isTyping(document.body), isTyping(null)]).toEqual([true, false, true, false, false]);
  });
});

describe("freshness", () => {
  const state = (more: Partial<LiveState>): LiveState => ({ connection: "live", second: 1000, receivedAt: 50_000, gaps: 0, error: null, ...more });
  test.each<[string, LiveState, number, boolean, string, string]>([
    ["a second ago", state({}), 51_000, false, "live", "Live"],
    ["nothing came, the connection stands", state({}), 57_500, false, "late", "No data for 7 s"],
    ["the connection is gone", state({ connection: "reconnecting" }), 92_000, false, "lost", "Not connected for 42 s"],
    ["gone a moment ago: the last second is still the newest", state({ connection: "reconnecting" }), 52_000, false, "live", "Live"],
    ["not yet", state({ connection: "connecting", second: null }), 99_000, false, "connecting", "Connecting"],
    ["never", state({ connection: "reconnecting", second: null }), 99_000, false, "lost", "Not connected"],
    ["paused", state({}), 99_000, true, "paused", "Paused"],
    ["the computer's clock was set back", state({}), 10_000, false, "live", "Live"],
  ])("%s", (_, live, now, isPaused, is, words) => {
    const fresh = freshness(live, now, isPaused);
    expect([fresh.is, fresh.words]).toEqual([is, words]);
    expect(isStale(fresh.is)).toBe(is === "late" || is === "lost");
  });
});

test("the title says first what matters most", () => {
  expect(titleOf("Alerts", 0, false)).toBe("Alerts · HMS-OPS");
  expect(titleOf("Alerts", 2, false)).toBe("(2 firing) Alerts · HMS-OPS");
  expect(titleOf("Alerts", 2, true)).toBe("(no data) Alerts · HMS-OPS");
  expect(titleOf("", 0, false)).toBe("HMS-OPS");
});

describe("what is told", () => {
  const gap = (from: number, to: number, reason: "slow" | "too-old" = "slow") => ({ from, to, reason });
  test("is not about alerts that are held back or silenced", () => {
    expect(isHeld({ held_by: "", silenced_by: "" })).toBe(false);
    expect(isHeld({ held_by: "flapping", silenced_by: "" })).toBe(true);
    expect(isHeld({ held_by: "", silenced_by: "ab12" })).toBe(true);
  });
  test("of several alerts is one sentence, and bounded", () => {
    expect(sentence([{ name: "a" }, { name: "a" }], "is firing", "are firing")).toBe("a is firing");
    expect(sentence(["a", "b"].map((name) => ({ name })), "is firing", "are firing")).toBe("a, b are firing");
    expect(sentence(["a", "b", "c", "d", "e"].map((name) => ({ name })), "is firing", "are firing")).toBe("5 alerts are firing: a, b, c and 2 more");
  });
  test("of gaps says from when to when, and why", () => {
    expect(gapSentence([gap(60, 65), gap(70, 72)])).toMatch(/^Live data from \d\d:01:00 to \d\d:01:12 was not received: this browser was too slow/);
    expect(gapSentence([gap(60, 60, "too-old")])).toMatch(/^Live data of \d\d:01:00 was not received: the engine/);
  });
});

describe("the engine's clock", () => {
  test("is the one that the least late second shows", () => {
    vi.useFakeTimers({ now: 1_000_000 });
    heard(899, 1_000_000); // the engine has 900 s where this computer has 1,000
    expect([engineNow(), skew()]).toEqual([900, 100]);
    heard(890, 1_000_000); // sent again after a reconnection: hardly believed
    expect(engineNow()).toBeGreaterThan(899);
    heard(900, 1_000_000);
    expect(engineNow()).toBe(901);
    heard(400, 1_000_000); // somebody has set a clock
    expect(engineNow()).toBe(401);
    vi.useRealTimers();
  });
});
