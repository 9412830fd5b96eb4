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
