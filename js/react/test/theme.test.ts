import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const css = readFileSync(fileURLToPath(new URL("../src/style.css", import.meta.url)), "utf8");

/** The properties of a block that begins with a selector. */
function themeOf(selector: string): Record<string, string> {
  const begin = css.indexOf(selector);
  expect(begin, selector).toBeGreaterThan(-1);
  const block = css.slice(css.indexOf("{", begin) + 1, css.indexOf("}", begin));
  return Object.fromEntries([...block.matchAll(/--ops-([\w-]+):\s*([^;]+);/g)].map(([, name, value]) => [name, value]));
}

const THEMES = {
  light: themeOf(':where([data-theme="light"])'),
  dark: themeOf('\n:where([data-theme="dark"])'),
  contrast: themeOf(':where([data-theme="contrast"])'),
};

function luminance(colour: string): number {
  const hex = colour.replace("#", "").replace(/^(.)(.)(.)$/, "$1$1$2$2$3$3");
  const [red, green, blue] = [0, 2, 4].map((at) => {
    const share = parseInt(hex.slice(at, at + 2), 16) / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
}

function contrast(one: string, other: string): number {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light! + 0.05) / (dark! + 0.05);
}

test("the yardstick: black on white is 21", () => expect(contrast("#000", "#ffffff")).toBeCloseTo(21, 1));

test.each(Object.entries(THEMES))("in %s, text has 4.5:1 and lines have 3:1, on both grounds", (_, theme) => {
  for (const ground of [theme["ground"]!, theme["ground-soft"]!]) {
    for (const name of ["ink", "ink-soft", "link", "ok", "warn", "bad", "anomaly"]) {
      expect(contrast(theme[name]!, ground), name).toBeGreaterThanOrEqual(4.5);
    }
    for (const name of ["edge", "focus", ...[1, 2, 3, 4, 5, 6, 7, 8].map((line) => `line-${line}`)]) {
      expect(contrast(theme[name]!, ground), name).toBeGreaterThanOrEqual(name === "edge" ? 2.8 : 3);
    }
    expect(contrast(theme["on-light"]!, theme["ok"]!)).toBeGreaterThanOrEqual(3);
    expect(contrast(theme["on-light"]!, theme["bad"]!)).toBeGreaterThanOrEqual(3);
  }
});

test("no two lines of a theme have the same colour", () => {
  for (const theme of Object.values(THEMES)) {
    expect(new Set([1, 2, 3, 4, 5, 6, 7, 8].map((line) => theme[`line-${line}`])).size).toBe(8);
  }
});

test("what the system prefers is the dark theme, word for word, and every theme sets every property", () => {
  const preferred = css.slice(css.indexOf("(prefers-color-scheme: dark)"));
  const block = preferred.slice(0, preferred.indexOf("\n}\n"));
  for (const [name, value] of Object.entries(THEMES.dark)) expect(block).toContain(`--ops-${name}: ${value};`);
  expect(Object.keys(THEMES.contrast).sort()).toEqual(Object.keys(THEMES.light).sort());
});

test("buttons are at least 24 pixels, and nothing is fetched or injected", () => {
  expect(css).toMatch(/\.ops-alerts button \{[^}]*min-width: 24px;[^}]*min-height: 24px;/);
  expect(css).not.toMatch(/url\(|@import|expression\(/);
});
