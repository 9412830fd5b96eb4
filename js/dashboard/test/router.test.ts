// @vitest-environment jsdom
import { beforeEach, describe, expect, test } from "vitest";
import { change, go, link, parse, route } from "../src/router";

beforeEach(() => history.replaceState(null, "", "/"));

describe("an address", () => {
  test.each([
    ["", "", {}],
    ["#/", "", {}],
    ["#/alerts", "alerts", {}],
    ["#/alerts/", "alerts", {}],
    ["#/metric?name=a.b&range=1h", "metric", { name: "a.b", range: "1h" }],
    ["#/metric?name=%3Cimg%20src%3Dx%3E", "metric", { name: "<img src=x>" }],
    ["#/x?a=1&a=2", "x", { a: "2" }],
    ["#/x?__proto__=1", "x", { ["__proto__"]: "1" }],
  ])("%s is a page with parameters", (hash, page, parameters) => {
    const found = parse(hash);
    expect(found.page).toBe(page);
    expect(Object.entries(found.parameters)).toEqual(Object.entries(parameters));
  });

  test("is written so that it reads back the same", () => {
    for (const name of ["a.b", "ü & ?=#/%", "a b+c", "100%", "<script>"]) expect(parse(link("metric", { name })).parameters).toEqual({ name });
  });

  test("leaves out what says nothing", () => {
    expect(link("", { filter: "", wall: null, x: undefined, y: false })).toBe("#/");
    expect(link("alerts", { open: true, n: 0 })).toBe("#/alerts?open=true&n=0");
  });
});

describe("going", () => {
  test("to a page is a step, a change of a parameter is none unless it says so", () => {
    go("alerts", { state: "firing" });
    expect(route()).toEqual({ page: "alerts", parameters: { state: "firing" } });
    const steps = history.length;
    change({ filter: "db" });
    expect(history.length).toBe(steps);
    expect(location.hash).toBe("#/alerts?state=firing&filter=db");
    change({ state: null }, true);
    expect(history.length).toBe(steps + 1);
    expect(route().parameters).toEqual({ filter: "db" });
  });

  test("nowhere new leaves the same object, so that nothing renders", () => {
    go("alerts");
    expect(route()).toBe(route());
  });
});
