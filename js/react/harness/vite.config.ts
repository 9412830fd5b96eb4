import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { packages, preact } from "../../aliases";
import { jsxInJs } from "../../examples/jsx";

// `npx vite js/react/harness`; PREACT=1 runs it as the dashboard does.
const isPreact = !!process.env["PREACT"];

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  base: "./",
  resolve: { alias: { ...packages("browser"), ...(isPreact ? preact : {}) } },
  plugins: [jsxInJs(isPreact ? "preact" : "react")],
  oxc: { jsx: { runtime: "automatic", importSource: isPreact ? "preact" : "react" } },
  build: { outDir: process.env["HARNESS_OUT"] ?? "/tmp/hms-ops-harness", emptyOutDir: true, target: "es2022", modulePreload: { polyfill: false } },
});
