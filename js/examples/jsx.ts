import { readFileSync } from "node:fs";
import type { Plugin } from "vite";

/** The founding document writes JSX in files named .js, as portals with older tools do; vite wants to be told. */
export const jsxInJs = (importSource = "react"): Plugin => ({
  name: "jsx-in-js",
  enforce: "pre",
  async transform(code, id) {
    if (!/\/examples\/\w+\.js$/.test(id.split("?")[0]!)) return null;
    const { transformWithOxc } = await import("vite");
    return transformWithOxc(code, id.replace(/\.js.*$/, ".jsx"), { lang: "jsx", jsx: { runtime: "automatic", importSource } });
  },
});

const PORTAL = "docs:portal";

/** `import Portal from "docs:portal"`: the React example of docs/javascript.md, as it stands there. */
export const docsPortal = (): Plugin => ({
  name: "docs-portal",
  resolveId: (id) => (id === PORTAL ? `\0${PORTAL}` : null),
  async load(id) {
    if (id !== `\0${PORTAL}`) return null;
    const guide = readFileSync(new URL("../../docs/javascript.md", import.meta.url), "utf8");
    const { transformWithOxc } = await import("vite");
    return transformWithOxc(guide.split("```jsx\n")[1]!.split("```")[0]!, "portal.jsx", { lang: "jsx", jsx: { runtime: "automatic" } });
  },
});
