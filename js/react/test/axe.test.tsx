// @vitest-environment jsdom
import { live, pass, second, shown, T0 } from "./setup.js";
import { act, fireEvent, screen } from "@testing-library/react";
import axe from "axe-core";
import { expect, test, vi } from "vitest";
import { AlertList, MetricChart, StatusLight } from "@hms-ops/react";
import { alertOf } from "./fake.js";

/** The structure only: jsdom neither lays out nor paints, so colours are tested from the style sheet (theme.test.ts). */
async function violations(): Promise<string[]> {
  vi.useRealTimers();
  const { violations } = await axe.run(document.body, { rules: { "color-contrast": { enabled: false }, region: { enabled: false } } });
  vi.useFakeTimers();
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

test("axe finds nothing in charts, waiting, live and as tables, in lights and in lists with their forms", async () => {
  live.setAlerts([alertOf("a", { tags: { agency: "irs" }, reason: "avg(a) > 1" }), alertOf("b", { state: "pending" })]);
  live.answer = ({ parameters }) => ({
    expr: parameters["expr"], step: 10,
    series: ["irs", "ssa"].map((agency) => ({ metric: "m", tags: { agency }, points: [[T0, 1], [T0 + 10, 3]] })),
  });
  shown(
    <>
      <MetricChart metric="db.write_ms" title="Latency" unit="ms" anomalies={[{ from: T0, name: "a jump" }]} />
      <MetricChart exprs={["avg(m) GROUP BY agency"]} title="By agency" />
      <MetricChart metric="nothing" />
      <StatusLight label="One" ok={false} detail="215 ms" />
      <StatusLight label="Two" state="unknown" />
      <AlertList actions />
    </>,
  );
  expect(await violations()).toEqual([]);
  for (let at = 0; at < 5; at++) second(at, at);
  await pass(50);
  expect(await violations()).toEqual([]);
  for (const button of screen.getAllByRole("button", { name: "View as table" })) fireEvent.click(button);
  fireEvent.click(screen.getAllByRole("button", { name: /^Silence/ })[0]!);
  act(() => live.move({ connection: "reconnecting", error: "gone" }));
  await pass(11_000);
  expect(await violations()).toEqual([]);
});

test("and it would find something", async () => {
  shown(<figure><button /></figure>);
  expect((await violations()).join()).toMatch(/button-name/);
});
