// Where the packages' sources are, for vite and vitest: they are used here as they are written, not as they are built.
import { fileURLToPath } from "node:url";

const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export const packages = (entry: "node" | "browser"): Record<string, string> => ({
  "@hms-ops/client": source(`client/src/${entry}.ts`),
  "@hms-ops/core": source("core/src/index.ts"),
  "@hms-ops/react/style.css": source("react/src/style.css"), // before the package: a name is one of its parts as well
  "@hms-ops/react": source("react/src/index.ts"),
  "@hms-mfe/bricks": source("bricks/src/index.ts"),
  "@hms-act/client": source("act/src/index.ts"),
});

// The dashboard runs the React pieces on preact, which is a tenth of react-dom.
export const preact: Record<string, string> = {
  "react/jsx-runtime": "preact/jsx-runtime",
  "react-dom/client": "preact/compat/client",
  "react-dom": "preact/compat",
  react: "preact/compat",
};
