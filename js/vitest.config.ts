import { defineConfig } from "vitest/config";
import { packages, preact } from "./aliases";
import { jsxInJs } from "./examples/jsx";

// As modules: what is required by CommonJS would have React itself.
const preactTesting = {
  "@testing-library/react": "@testing-library/react/dist/@testing-library/react.esm.js",
  "react-dom/test-utils": "preact/test-utils",
};

// The pieces run on React in portals and on preact in the dashboard, so their tests run on both.
export default defineConfig({
  plugins: [jsxInJs()],
  resolve: { alias: packages("node") },
  test: {
    testTimeout: 20_000,
    projects: [
      { extends: true, test: { name: "all", include: ["*/test/**/*.test.{ts,tsx}"] } },
      {
        extends: true,
        resolve: { alias: { ...preactTesting, ...preact } },
        test: {
          name: "preact",
          include: ["react/test/**/*.test.tsx"],
          exclude: ["react/test/server.test.tsx"], // the dashboard is not rendered on a server
          server: { deps: { inline: [/@testing-library/] } },
        },
      },
    ],
  },
});
