import { fileURLToPath } from "node:url";
import { minify } from "terser";
import { defineConfig, type Plugin } from "vite";
import { packages, preact } from "../aliases";

// What this writes is committed: installing the Python package needs no Node. `tests/test_ui_built.py` builds it again.
/** A script that is loaded later brings no sheet and no other script: nothing is to be fetched ahead for it. */
const noPreload = {
  name: "no-preload",
  enforce: "pre" as const,
  load: (id: string) => (id.includes("vite/preload-helper") ? "export const __vitePreload = (load) => load();" : null),
};

/** Once more by terser: vite's own minifier leaves 1 KB of 108, compressed. */
const smaller: Plugin = {
  name: "smaller",
  async generateBundle(_, bundle) {
    for (const chunk of Object.values(bundle)) {
      if (chunk.type === "chunk") chunk.code = (await minify(chunk.code, { module: true, ecma: 2020, compress: { passes: 3 } })).code!;
    }
  },
};

/** The pieces' sheet without what stands below its mark: rules of pieces that no page here shows. */
const piecesShown: Plugin = {
  name: "pieces-shown",
  enforce: "pre",
  transform(code, id) {
    if (!id.endsWith("react/src/style.css")) return null;
    const end = code.indexOf("/* ==== ");
    if (end < 0) this.error("react/src/style.css has lost its mark");
    return code.slice(0, end);
  },
};

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  base: "./",
  resolve: { alias: { ...packages("browser"), "@hms-ops/client": fileURLToPath(new URL("src/reader.ts", import.meta.url)), ...preact } },
  plugins: [noPreload, piecesShown, smaller],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: process.env.HMS_OPS_UI_OUT ?? fileURLToPath(new URL("../../src/hms_ops/http/dashboard", import.meta.url)),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false, // its polyfill is an inline script's work
    cssCodeSplit: false, // one sheet, so that a page that is loaded later brings script only
    // Two scripts, what is there at once and the rest, each compressed as one: cut along every page they weigh an eighth more.
    rolldownOptions: {
      output: {
        codeSplitting: {
          groups: [
            { name: "base", priority: 2, test: /preact|[\\/](client|core)[\\/]src|react[\\/]src[\\/](format|hooks|provider|query)|dashboard[\\/]src[\\/](kit|main|reader|router|shell|wall|pages[\\/](index|overview))|\.css/ },
            { name: "pages", priority: 1, test: /uplot|react[\\/]src|dashboard[\\/]src[\\/](pages|boards|metric)/ },
          ],
        },
      },
    },
    assetsInlineLimit: 0, // a data: URL would need the policy to allow it
  },
});
