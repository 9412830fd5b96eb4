import { beginning, visible } from "@hms-ops/core";
import { describe, expect, it } from "vitest";
import { webLink } from "../src/pages/parts/links";
import { breakable, RUN_MAX } from "../src/pages/parts/plain";
import { membersOf, texts, Unreadable, words } from "../src/pages/parts/read";

describe("texts of strangers", () => {
  it("shows what cannot be seen", () => {
    expect(visible("a\u0000b\u001b[31m\n")).toBe("a‹NUL›b‹ESC›[31m‹LF›");
    expect(visible("\u202Eevil\u202C")).toBe("‹U+202E›evil‹U+202C›");
    expect(visible("zero\u200Bwidth\uFEFF")).toBe("zero‹U+200B›width‹U+FEFF›");
    expect(visible("\u0001\u0085\u2028\u2066\u061c")).toBe("‹U+0001›‹U+0085›‹U+2028›‹U+2066›‹U+061C›");
  });
  it("leaves what people write alone: other scripts, joiners, pictures", () => {
    const text = "grün Ελλάδα עברית می\u200Cخواهم 👩\u200D🚀 <img onerror>";
    expect(visible(text)).toBe(text);
  });
  it("shows halves of characters as what they are", () => {
    expect(visible("a\ud800b")).toBe("a‹U+D800›b");
    expect(visible("\udc00")).toBe("‹U+DC00›");
    expect(visible("👩")).toBe("👩");
  });
  it("cuts no character in half", () => {
    expect(beginning("ab👩c", 3)).toBe("ab");
    expect(beginning("ab👩c", 4)).toBe("ab👩");
    expect(beginning("abc", 3)).toBe("abc");
  });
  it("breaks names where people would, and runs anywhere", () => {
    expect(breakable("finance.api_ms")).toEqual(["finance.", "api_", "ms"]);
    expect(breakable("a sentence of words.")).toEqual(["a sentence of words."]);
    const long = "x".repeat(190) + "👩";
    expect(breakable(long).join("")).toBe(long);
    expect(Math.max(...breakable(long).map((piece) => piece.length))).toBe(RUN_MAX);
  });
});

describe("links", () => {
  it.each([
    ["https://wiki.agency.example/db", "wiki.agency.example"],
    ["http://127.0.0.1:8080/a?b=c#d", "127.0.0.1:8080"],
    ["  HTTPS://Example.com/x  ", "example.com"],
  ])("%s leads to %s", (text, host) => expect(webLink(text)?.host).toBe(host));
  it.each([
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,<script>", "vbscript:x", "//evil.example", "/path", "ftp://x",
    "https://user:pw@evil.example/", "https://user@evil.example/", "https://a b/", "see https://a.example", "https://a.example/\u202Egpj.exe",
    "https://a.example/\u0000", "java\nscript:alert(1)", "https://", "http:/\\evil", "", "https:javascript:alert(1)", "blob:https://a.example/x",
  ])("%j stays a text", (text) => expect(webLink(text)).toBeNull());
  it("says where an address of another alphabet leads", () => expect(webLink("https://аррӏе.com/")?.host).toBe("xn--80ak6aa92e.com"));
  it("does not follow what is too long", () => expect(webLink(`https://a.example/${"x".repeat(2000)}`)).toBeNull());
});

describe("readers", () => {
  it("say what a document is not", () => {
    expect(() => membersOf("<html>", "ledger")).toThrow(Unreadable);
    expect(() => membersOf(null, "ledger")).toThrow(/no ledger/);
    expect(() => membersOf([], "ledger")).toThrow(Unreadable);
  });
  it("leave out what is no text", () => {
    expect(texts({ tags: { a: "1", b: 2, c: null } }, "tags")).toEqual({ a: "1" });
    expect(texts({ tags: ["a"] }, "tags")).toEqual({});
    expect(words({ notify: ["a", 1, null, "b"] }, "notify")).toEqual(["a", "b"]);
  });
});
