import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { packages, preact } from "../aliases";

// What this writes is committed: installing the Python package needs no Node. `tests/test_ui_built.py` builds it again.
export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  base: "./",
  resolve: { alias: { ...packages("browser"), ...preact } },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: process.env.HMS_OPS_UI_OUT ?? fileURLToPath(new URL("../../src/hms_ops/http/dashboard", import.meta.url)),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false }, // the polyfill is an inline script's work
    assetsInlineLimit: 0, // a data: URL would need the policy to allow it
  },
});
