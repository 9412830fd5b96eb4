// @vitest-environment jsdom
import { live, pass, second } from "./setup.js";
import { act } from "@testing-library/react";
import { StrictMode, version } from "react";
import { version as domVersion } from "react-dom";
import { hydrateRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { expect, test, vi } from "vitest";
import { AlertList, MetricChart, OpsProvider, StatusLight } from "@hms-ops/react";
import { alertOf } from "./fake.js";

const page = () => (
  <StrictMode>
    <OpsProvider live={live}>
      <MetricChart metric="db.write_ms" title="Write latency" unit="ms" />
      <StatusLight label="Latency" ok />
      <AlertList />
    </OpsProvider>
  </StrictMode>
);

test("the tests run on the React that their project names", () => {
  expect([version, domVersion]).toEqual(Array(2).fill(expect.stringMatching(`^${process.env["REACT"]}\\.`)));
});

test("what a server has rendered comes alive without a word of complaint, and leaves nothing behind", async () => {
  const errors = vi.spyOn(console, "error").mockImplementation(() => undefined);
  second(0, 204); // the browser knows more than the server did
  live.setAlerts([alertOf("finance.slow")]);
  const host = document.body.appendChild(document.createElement("div"));
  host.innerHTML = renderToString(page());
  expect(host.textContent).toContain("Waiting for alerts");
  const told: unknown[] = [];
  let root: Root;
  act(() => void (root = hydrateRoot(host, page(), { onRecoverableError: (error) => told.push(error) })));
  await pass(50);
  second(1, 205);
  expect(host.textContent).toContain("205 ms");
  expect(host.textContent).toContain("finance.slow");
  expect([errors.mock.calls, told]).toEqual([[], []]);
  act(() => root!.unmount());
  host.remove();
  await pass(50);
  expect(live.watchers.size).toBe(0);
  errors.mockRestore();
});
