/** Go to anything by name: pages, alerts, boards, metrics. A combobox with a list box; the focus stays in the field. */

import { useEffect, useId, useMemo, useRef, useState, type KeyboardEvent } from "react";
import { useAlerts } from "@hms-ops/react";
import { Dialog } from "../kit/dialog";
import { useDocument } from "../kit/document";
import { count } from "../kit/format";
import { pages } from "../pages";
import { link } from "../router";
import { METRICS_PATH, metricsOf, type MetricsAnswer } from "../wall/source";
import { rank, type Goal } from "./rank";

interface Boards {
  readonly dashboards: readonly { readonly name: string; readonly title: string }[];
}

const KINDS: Readonly<Record<Goal["kind"], string>> = { page: "page", metric: "metric", alert: "alert", dashboard: "dashboard", command: "" };

function useGoals(): readonly Goal[] {
  const metrics = useDocument<MetricsAnswer>(METRICS_PATH, { every: 0 });
  const boards = useDocument<Boards>("/v1/dashboards", { every: 0 });
  const { rules } = useAlerts();
  return useMemo(
    () => [
      ...pages.filter((page) => page.group).map((page): Goal => ({ text: page.title, kind: "page", note: page.about, href: link(page.path) })),
      ...(boards.data?.dashboards ?? []).map((board): Goal => ({ text: board.title || board.name, kind: "dashboard", note: board.name, href: link("dashboard", { name: board.name }) })),
      ...rules.map((rule): Goal => ({ text: rule.alert, kind: "alert", note: rule.if, href: link("alerts", { name: rule.alert }) })),
      ...metricsOf(metrics.data).filter((metric) => !metric.rule).map((metric): Goal => ({ text: metric.metric, kind: "metric", note: [metric.kind, metric.unit].filter(Boolean).join(", "), href: link("metric", { name: metric.metric }) })),
    ],
    [metrics.data, boards.data, rules],
  );
}

export function Palette({ onClose }: { readonly onClose: () => void }) {
  const id = useId();
  const goals = useGoals();
  const [query, setQuery] = useState("");
  const [at, setAt] = useState(0);
  const found = useMemo(() => rank(goals, query), [goals, query]);
  const list = useRef<HTMLUListElement>(null);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  useEffect(() => list.current?.children[at]?.scrollIntoView({ block: "nearest" }), [at, found]);
  const choose = (goal: Goal | undefined): void => {
    if (!goal) return;
    onClose();
    location.hash = goal.href;
  };
  const press = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (step !== undefined) (event.preventDefault(), setAt(Math.min(Math.max(0, at + step), found.length - 1)));
    if (event.key === "Enter") (event.preventDefault(), choose(found[at]));
  };
  const active = found[at] ? `${id}-${at}` : undefined;
  return (
    <Dialog title="Go to" onClose={onClose}>
      <input
        ref={field} className="input" type="text" role="combobox" aria-label="Page, metric, alert or dashboard" aria-expanded="true" aria-controls={`${id}-list`}
        aria-activedescendant={active} aria-autocomplete="list" autoComplete="off" spellCheck={false} placeholder="Page, metric, alert or dashboard"
        value={query} onInput={(event) => (setQuery(event.currentTarget.value), setAt(0))} onKeyDown={press}
      />
      <ul ref={list} className="palette" role="listbox" id={`${id}-list`} aria-label="Found">
        {found.map((goal, index) => (
          <li key={`${goal.kind} ${goal.href}`} id={`${id}-${index}`} role="option" aria-selected={index === at} onClick={() => choose(goal)} onMouseMove={() => index !== at && setAt(index)}>
            <span className="palette-text" dir="auto">{goal.text}</span>
            <span className="palette-kind">{KINDS[goal.kind]}</span>
            <span className="palette-note" dir="auto">{goal.note}</span>
          </li>
        ))}
      </ul>
      <p className="quiet-text" role="status">{query ? (found.length ? `${count(found.length)} found; arrow keys choose, Enter goes there` : "Nothing has this name.") : "Type a part of a name."}</p>
    </Dialog>
  );
}
