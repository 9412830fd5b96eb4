// A page for chromium.test.ts: a live store and a client as a portal has them. What it sees it puts into the title.
import { Client } from "@hms-ops/client";
import { createLive } from "../src/index.js";

const client = new Client({ flushIntervalMs: 50 });
const live = createLive(client);
const metric = new URLSearchParams(location.search).get("metric") ?? "";
client.metric("page.loaded", 1, { tags: { metric } });
live.watch(metric, () => {
  const values = live.cells(metric).map((cell) => cell.value);
  void fetch(`/seen?${metric}=${values.join()}&connection=${live.state().connection}`);
});
addEventListener("pagehide", () => client.metric("page.left", 1, { tags: { metric } }));
