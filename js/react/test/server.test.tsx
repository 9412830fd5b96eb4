import { renderToString } from "react-dom/server";
import { expect, test } from "vitest";
import { AlertList, MetricChart, OpsProvider, StatusLight, useLive, useMetric } from "@hms-ops/react";

// This file runs without a DOM: what is imported above must not touch one.
const hasDom = typeof document !== "undefined";

function Latency() {
  return <b>{String(useMetric("finance.api_ms"))}</b>;
}

test("there is no DOM here", () => expect(hasDom).toBe(false));

test("a server renders a figure with its title and a summary, without a style in the markup", () => {
  const html = renderToString(<MetricChart metric="finance.api_ms" unit="ms" title="Finance API" range={900} />);
  expect(html).toMatch(/<figure [^>]*tabindex="-1"[^>]*aria-labelledby=/i);
  expect(html).toContain(">Finance API</span>");
  expect(html).toContain("Finance API: Waiting for samples");
  expect(html).not.toMatch(/style=|<style|<script/);
});

test("lights wait, lists wait, values are NaN; with and without a provider", () => {
  const pieces = <><StatusLight label="Latency" ok={false} /><AlertList /><Latency /></>;
  for (const html of [renderToString(pieces), renderToString(<OpsProvider url="https://ops.example">{pieces}</OpsProvider>)]) {
    expect(html).toContain("Waiting</strong>");
    expect(html).toContain("Waiting for alerts");
    expect(html).toContain("<b>NaN</b>");
  }
});

test("who wants the connection itself is told that a server has none", () => {
  const Look = () => (useLive(), null);
  expect(() => renderToString(<Look />)).toThrow(/no connection on a server/);
});
