import { defineConfig } from "vitest/config";
import { packages } from "./aliases";

export default defineConfig({
  resolve: { alias: packages("node") },
  test: { include: ["*/test/**/*.test.{ts,tsx}"], testTimeout: 20_000 },
});
