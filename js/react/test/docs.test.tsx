// @vitest-environment jsdom
import { pass } from "./setup.js";
import { render, screen } from "@testing-library/react";
import Portal from "docs:portal";
import { expect, test, vi } from "vitest";

test("the example of docs/javascript.md shows what it says, of the engine and with the token it names", async () => {
  const asked: [string, RequestInit][] = [];
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => (asked.push([url, init]), new Promise(() => undefined)));
  render(<Portal token="secret" />);
  await pass(500);
  expect(screen.getAllByRole("figure")).toHaveLength(2);
  expect(screen.getByRole("figure", { name: "Finance API" })).toBeTruthy();
  expect(screen.getAllByRole("status")[0]!.textContent).toBe("Latency OK: Waiting");
  expect(screen.getByRole("region", { name: "Alerts" })).toBeTruthy();
  const [url, init] = asked.find(([one]) => one.includes("/v1/stream"))!;
  expect(url).toMatch(/^https:\/\/ops\.example:8126\/v1\/stream\?metric=finance\.api_ms&metric=finance\.latency_high&/);
  expect(init.headers).toMatchObject({ Authorization: "Bearer secret" });
});
