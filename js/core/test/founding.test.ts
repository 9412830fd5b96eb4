// The founding document's scripts stand in js/examples as they are written there, and run.
import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const DOCUMENT = new URL("../../../../shared/seed/hms-ops-chapter.md", import.meta.url);
const SCRIPTS = { metrics: "finance/metrics.js", latency: "alerts/latency.js", anomaly: "ml/anomaly.js", scaleUp: "hooks/scaleUp.js" };

it.skipIf(!existsSync(DOCUMENT)).each(Object.entries(SCRIPTS))("%s.js is what the document says", (name, title) => {
  const blocks = readFileSync(DOCUMENT, "utf8").split("```javascript\n").map((block) => block.split("```")[0]);
  const block = blocks.filter((one) => one?.startsWith(`// ${title}`));
  expect(block).toEqual([readFileSync(new URL(`../../examples/${name}.js`, import.meta.url), "utf8")]);
});
