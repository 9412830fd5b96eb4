/** The table of pages: address, title, the key after `g`, and where its code is. Pages are loaded when they are gone to. */

import type { ComponentType } from "react";
import Overview from "./overview";

export type Group = "Watch" | "Understand" | "Engine";

export interface PageEntry {
  readonly path: string;
  readonly title: string;
  /** What a person finds there, in the palette and in the help. */
  readonly about: string;
  /** `g` and this key go there; "" has none. */
  readonly key: string;
  /** Where the navigation lists it; null: reached through other pages only. */
  readonly group: Group | null;
  /** A page that is there from the start, or how to load it. */
  readonly page: ComponentType | null;
  readonly load: () => Promise<{ default: ComponentType }>;
}

const here = (page: ComponentType) => ({ page, load: () => Promise.resolve({ default: page }) });
const later = (name: keyof typeof import("./later")) => ({ page: null, load: () => import("./later").then((all) => ({ default: all[name] })) });

export const pages: readonly PageEntry[] = [
  { path: "", title: "Overview", about: "Every metric, live", key: "o", group: "Watch", ...here(Overview) },
  { path: "alerts", title: "Alerts", about: "What is firing or pending, why, and who has taken it", key: "a", group: "Watch", ...later("alerts") },
  { path: "dashboards", title: "Dashboards", about: "Your own boards", key: "b", group: "Watch", ...later("dashboards") },
  { path: "slos", title: "Service levels", about: "Error budgets and how fast they burn", key: "s", group: "Watch", ...later("slos") },
  { path: "anomalies", title: "Anomalies", about: "What the detectors found unusual", key: "n", group: "Understand", ...later("anomalies") },
  { path: "healing", title: "Healing", about: "Actions that alerts have started, and how they ended", key: "h", group: "Understand", ...later("healing") },
  { path: "deliveries", title: "Deliveries", about: "Who was told what, when, and what could not be delivered", key: "d", group: "Understand", ...later("deliveries") },
  { path: "audit", title: "Audit", about: "Who did what", key: "u", group: "Understand", ...later("audit") },
  { path: "ledger", title: "Ledger", about: "Every datagram accounted for", key: "l", group: "Engine", ...later("ledger") },
  { path: "cardinality", title: "Cardinality", about: "Which metrics and tags make the most series", key: "c", group: "Engine", ...later("cardinality") },
  { path: "about", title: "About this page", about: "What you are looking at, in plain words", key: "i", group: "Engine", ...later("about") },
  { path: "metric", title: "Metric", about: "One metric in detail", key: "", group: null, ...later("metric") },
  { path: "dashboard", title: "Dashboard", about: "One of your own boards", key: "", group: null, ...later("dashboard") },
];

export const pageAt = (path: string): PageEntry | undefined => pages.find((entry) => entry.path === path);
