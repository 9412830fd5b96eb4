// @vitest-environment jsdom
import { leftBehind, live, pass, second, shown, T0 } from "./setup.js";
import { act, fireEvent, render, screen } from "@testing-library/react";
import { StrictMode } from "react";
import { expect, test } from "vitest";
import { AlertList, OpsProvider, StatusLight, useAlerts, useCells, useLive, useMetric, useQuery, type Asked } from "@hms-ops/react";
import type { AlertsAnswer, Cell, QueryAnswer } from "@hms-ops/client";
import { alertOf, answerOf, FakeLive } from "./fake.js";

const RULE = { alert: "finance.latency_high", if: "avg(finance.api_ms) > 200" } as AlertsAnswer["rules"][number];

// ---- hooks

function Value({ of, seen }: { of: string; seen: number[] }) {
  const value = useMetric(of);
  seen.push(value);
  return <output>{String(value)}</output>;
}

test("useMetric is the latest value, and NaN before the first", () => {
  shown(<Value of="db.write_ms" seen={[]} />);
  expect(screen.getByRole("status").textContent).toBe("NaN");
  second(0, 212);
  expect(screen.getByRole("status").textContent).toBe("212");
  second(1, null);
  expect(screen.getByRole("status").textContent).toBe("212");
});

test("useMetric of a rule is 1 while it fires, also before its gauge has a cell", () => {
  shown(<Value of="finance.latency_high" seen={[]} />);
  act(() => live.setAlerts([], [RULE]));
  expect(screen.getByRole("status").textContent).toBe("0");
  act(() => live.setAlerts([alertOf("finance.latency_high")], [RULE]));
  expect(screen.getByRole("status").textContent).toBe("1");
  act(() => live.second(T0, { "finance.latency_high": 0 }));
  expect(screen.getByRole("status").textContent).toBe("0");
});

test("snapshots are the same object until they change, so nothing renders for nothing", () => {
  const cells: (readonly Cell[])[] = [], alerts: AlertsAnswer[] = [], seen: number[] = [];
  const Both = () => (cells.push(useCells("db.write_ms", 10)), alerts.push(useAlerts()), null);
  const { rerender } = render(<OpsProvider live={live}><Both /><Value of="db.write_ms" seen={seen} /></OpsProvider>);
  second(0, 1);
  rerender(<OpsProvider live={live}><Both /><Value of="db.write_ms" seen={seen} /></OpsProvider>);
  expect(cells.at(-1)).toBe(cells.at(-2));
  expect(alerts.at(-1)).toBe(alerts.at(-2));
  const rendered = seen.length;
  act(() => live.second(T0 + 1, { "another.metric": 5 }));
  expect(seen.length).toBe(rendered);
});

test("useCells gives no more seconds than were asked for, whatever another piece keeps", () => {
  const kept: (readonly Cell[])[] = [];
  const Cells = () => (kept.push(useCells("db.write_ms", 3)), null);
  shown(<Cells />);
  for (let at = 0; at < 9; at++) second(at, at);
  expect(kept.at(-1)!.map(({ value }) => value)).toEqual([6, 7, 8]);
});

test("useQuery asks, keeps its answer while it asks again, says what was refused, and stops when it leaves", async () => {
  const seen: Asked<QueryAnswer>[] = [];
  const Query = ({ expr }: { expr: string }) => (seen.push(useQuery(expr, { range: 600, points: 100, every: 5 })), null);
  live.answer = ({ parameters }) => answerOf(String(parameters["expr"]), 10, [[T0, 1]]);
  const { unmount } = render(<OpsProvider live={live}><Query expr="avg(a)" /></OpsProvider>);
  expect(seen.at(-1)).toEqual({ data: null, error: null, loading: true });
  await pass(1);
  expect(seen.at(-1)!.data!.expr).toBe("avg(a)");
  expect(live.asked[0]!.parameters).toMatchObject({ start: T0 - 600, points: 100, step: undefined });
  live.answer = () => {
    throw new Error("gone");
  };
  await pass(5000);
  expect(seen.at(-1)).toMatchObject({ error: "gone", loading: false, data: { expr: "avg(a)" } });
  unmount();
  const asked = live.asked.length;
  await pass(20_000);
  expect(live.asked.length).toBe(asked);
  expect(leftBehind()).toEqual({ watchers: 0, timers: 0, media: 0, observed: 0 });
});

test("a hidden page asks nothing", async () => {
  const Query = () => (useQuery("avg(a)", { every: 5 }), null);
  Object.defineProperty(document, "hidden", { value: true, configurable: true });
  const { unmount } = render(<OpsProvider live={live}><Query /></OpsProvider>);
  await pass(20_000);
  expect(live.asked).toHaveLength(0);
  Object.defineProperty(document, "hidden", { value: false, configurable: true });
  await pass(1000);
  expect(live.asked).toHaveLength(1);
  unmount();
});

test("a provider does not close what is given to it, and survives StrictMode's double effects", async () => {
  const given = new FakeLive();
  const seen: unknown[] = [];
  const Look = () => (seen.push(useLive()), null);
  const { unmount } = render(<StrictMode><OpsProvider live={given}><Look /></OpsProvider></StrictMode>);
  expect(new Set(seen)).toEqual(new Set([given]));
  unmount();
  await pass(10);
  expect(given.isClosed).toBe(false);
});

// ---- StatusLight

const light = () => screen.getAllByRole("status")[0]!.textContent;

test("a light waits until the stream has said anything, then says what it knows", () => {
  shown(<StatusLight label="Latency" ok={false} />);
  expect(light()).toBe("Latency: Waiting");
  second(0, 1);
  expect(light()).toBe("Latency: Not OK");
});

test.each([[true, "Latency: OK"], [false, "Latency: Not OK"], [null, "Latency: Unknown"], [undefined, "Latency: Unknown"]])(
  "ok=%s reads %s", (ok, words) => {
    second(0, 1);
    shown(<StatusLight label="Latency" ok={ok} />);
    expect(light()).toBe(words);
  });

test("a light whose stream is lost for 10 s no longer knows", async () => {
  second(0, 1);
  shown(<StatusLight label="Latency" ok />);
  act(() => live.move({ connection: "reconnecting" }));
  expect(light()).toBe("Latency: OK");
  await pass(10_001);
  expect(light()).toBe("Latency: Unknown");
  expect(screen.getByText("no connection")).toBeTruthy();
  act(() => live.move({ connection: "live" }));
  expect(light()).toBe("Latency: OK");
});

test("a state that is said outright is shown; details change without being announced", () => {
  const { container } = shown(<StatusLight label="Latency" state="bad" detail="215 ms" />);
  expect(light()).toBe("Latency: Not OK");
  expect(screen.getByRole("status").textContent).not.toMatch(/215/);
  expect(container.textContent).toMatch(/215 ms/);
});

test("each state has a shape of its own", () => {
  const { container } = shown(<>{(["ok", "bad", "waiting", "unknown"] as const).map((state) => <StatusLight key={state} label="x" state={state} />)}</>);
  const shapes = [...container.querySelectorAll("svg")].map((one) => one.innerHTML);
  expect(new Set(shapes.slice(0, 3)).size).toBe(3);
  expect(container.querySelectorAll("[data-state=unknown] svg[aria-hidden=true]")).toHaveLength(1);
});

// ---- AlertList

test("an alert tells state, severity, name, tags, value, since when, why and who has it", async () => {
  live.setAlerts([alertOf("finance.slow", {
    tags: { agency: "irs" }, since: T0 - 340, reason: "avg(finance.api_ms) = 215 ms > 200 ms",
    acknowledged: { who: "ann", at: T0, comment: "looking", until: null },
  })]);
  shown(<AlertList unitOf={() => "ms"} />);
  await pass(10);
  const item = screen.getByRole("listitem");
  expect(item.textContent).toMatch(/^firing ?page ?finance\.slow ?agency irs ?215 ms/);
  expect(item.textContent).toMatch(/5 min 40 s ago; acknowledged by ann \(looking\)/);
  expect(item.textContent).toMatch(/Because avg\(finance\.api_ms\) = 215 ms > 200 ms/);
  expect(item.querySelector("time")!.dateTime).toBe("2023-11-14T22:07:40Z");
  expect(screen.queryByRole("button")).toBeNull();
});

test("a page is not pushed off the list by newer tickets", () => {
  const tickets = Array.from({ length: 200 }, (_, at) => alertOf(`a${at}`, { since: T0 + at, severity: "ticket" }));
  live.setAlerts([...tickets, alertOf("older", { since: T0 - 60 }), alertOf("pending", { state: "pending" })]);
  shown(<AlertList />);
  expect(screen.getAllByRole("listitem")[0]!.textContent).toMatch(/older/);
});

test("firing ones come first, then the newest; 200 are listed and the rest counted", () => {
  live.setAlerts([
    alertOf("pending", { state: "pending", since: T0 }),
    ...Array.from({ length: 209 }, (_, at) => alertOf(`a${at}`, { since: T0 - at })),
  ]);
  shown(<AlertList />);
  const items = screen.getAllByRole("listitem");
  expect(items).toHaveLength(200);
  expect(items[0]!.textContent).toMatch(/a0/);
  expect(screen.getByText("10 more.")).toBeTruthy();
});

test("no alerts, no news and no connection are three things", async () => {
  shown(<AlertList />);
  expect(screen.getByText("Waiting for alerts")).toBeTruthy();
  second(0, 1);
  expect(screen.getByText("No alert is pending or firing.")).toBeTruthy();
  act(() => live.move({ connection: "reconnecting" }));
  await pass(10_001);
  expect(screen.getByRole("alert").textContent).toMatch(/no connection/);
});

test("acknowledging posts tags and comment, says so, and closes its form", async () => {
  live.setAlerts([alertOf("finance.slow/1", { tags: { agency: "irs" } })]);
  shown(<AlertList actions who="ann" />);
  fireEvent.click(screen.getByRole("button", { name: /^Acknowledge/ }));
  await pass(10);
  const comment = screen.getByLabelText("Comment") as HTMLInputElement;
  expect(document.activeElement).toBe(comment);
  fireEvent.change(comment, { target: { value: "looking" } });
  fireEvent.submit(comment.form!);
  await pass(10);
  expect(live.asked[0]).toMatchObject({
    path: "/v1/alerts/finance.slow%2F1/ack", body: { tags: { agency: "irs" }, who: "ann", comment: "looking" },
  });
  expect(screen.getByText("Acknowledge: done.")).toBeTruthy();
  expect(screen.queryByLabelText("Comment")).toBeNull();
});

test("a silence has a span; a refusal is told in the engine's words and the form stays", async () => {
  live.setAlerts([alertOf("finance.slow")]);
  live.answer = () => {
    throw Object.assign(new Error("HTTP 409"), { problem: { detail: "as many silences last as there may be" } });
  };
  shown(<AlertList actions />);
  fireEvent.click(screen.getByRole("button", { name: /^Silence/ }));
  const span = screen.getByLabelText("For") as HTMLSelectElement;
  fireEvent.change(span, { target: { value: "28800" } });
  fireEvent.submit(span.form!);
  await pass(10);
  expect(live.asked[0]).toMatchObject({ path: "/v1/alerts/finance.slow/silence", body: { for: 28800, tags: {} } });
  expect(screen.getByRole("alert").textContent).toBe("as many silences last as there may be");
  expect(screen.getByLabelText("For")).toBeTruthy();
  fireEvent.keyDown(span, { key: "Escape" });
  expect(screen.queryByLabelText("For")).toBeNull();
});

test("what was done can be taken back", async () => {
  live.setAlerts([alertOf("slow", { acknowledged: { who: "ann", at: T0, comment: "", until: null }, silenced_by: "a791" })]);
  shown(<AlertList actions />);
  fireEvent.click(screen.getByRole("button", { name: /^End acknowledgement/ }));
  await pass(10);
  fireEvent.click(screen.getByRole("button", { name: /^End silence/ }));
  await pass(10);
  expect(live.asked.map(({ path }) => path)).toEqual(["/v1/alerts/slow/unack", "/v1/alerts/slow/unsilence"]);
});

test("hostile names are text", () => {
  live.setAlerts([alertOf("<img src=x onerror=alert(1)>", { reason: "<script>alert(1)</script>", tags: { "<b>": "<i>" } })]);
  const { container } = shown(<AlertList actions />);
  expect(container.querySelector("img, script, b, i")).toBeNull();
  expect(screen.getByText("<img src=x onerror=alert(1)>", { selector: ".ops-alert-name" })).toBeTruthy();
});

test("a list that has left keeps nothing", async () => {
  live.setAlerts([alertOf("a")]);
  const { unmount } = shown(<><AlertList actions /><StatusLight label="x" ok /></>);
  await pass(25_000);
  unmount();
  expect(leftBehind()).toEqual({ watchers: 0, timers: 0, media: 0, observed: 0 });
});
