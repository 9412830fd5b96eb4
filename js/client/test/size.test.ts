import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { gzippedSize } from "../../scripts/sizes.mjs";

it.each(["node", "browser"])("the entry for %s has at most 5,000 bytes, minified and gzipped", async (entry) => {
  const bytes = await gzippedSize(fileURLToPath(new URL(`../src/${entry}.ts`, import.meta.url)));
  expect(bytes).toBeLessThanOrEqual(5000);
  expect(bytes).toBeGreaterThan(3000); // it is all there
});
