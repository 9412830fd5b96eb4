import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { packages, preact } from "./aliases.ts";
import { docsPortal, jsxInJs } from "./examples/jsx.ts";

// As modules: what is required by CommonJS would have React 19 itself.
const testing = { "@testing-library/react": "@testing-library/react/dist/@testing-library/react.esm.js" };
const inlined = { deps: { inline: [/@testing-library/] } };
const react18 = [{ find: /^react(-dom)?(?=\/|$)/, replacement: fileURLToPath(new URL("react-18/node_modules/react$1", import.meta.url)) }];
const asList = (alias: Record<string, string>) => Object.entries(alias).map(([find, replacement]) => ({ find, replacement }));

// The pieces run on React 18 and 19 in portals and on preact in the dashboard, so their tests run on all three.
export default defineConfig({
  plugins: [jsxInJs(), docsPortal()],
  resolve: { alias: packages("node") },
  test: {
    testTimeout: 60_000, // a busy machine draws slowly; what waits says itself for how long
    projects: [
      { extends: true, test: { name: "all", include: ["*/test/**/*.test.{ts,tsx}"], env: { REACT: "19" } } },
      {
        extends: true,
        resolve: { alias: [...asList(testing), ...react18] },
        test: { name: "react-18", include: ["react/test/**/*.test.tsx"], env: { REACT: "18" }, server: inlined },
      },
      {
        extends: true,
        resolve: { alias: { ...testing, "react-dom/test-utils": "preact/test-utils", ...preact } },
        test: {
          name: "preact",
          include: ["react/test/**/*.test.tsx"],
          exclude: ["react/test/server.test.tsx", "react/test/hydrate.test.tsx"], // the dashboard is not rendered on a server
          server: inlined,
        },
      },
    ],
  },
});
