// @vitest-environment jsdom
import { live, pass, shown, T0 } from "./setup.js";
import { act, screen } from "@testing-library/react";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import Board from "../../examples/LatencyBoard.js";

test("the founding document's board runs as it is written", async () => {
  shown(<Board />);
  expect(screen.getByRole("heading", { name: "Finance-API Health" })).toBeTruthy();
  expect(screen.getByRole("status").textContent).toBe("Latency OK: Waiting");
  act(() => live.second(T0, { "finance.api_ms": 212, "finance.latency_high": 0 }, "timer"));
  await pass(50);
  expect(screen.getByRole("status").textContent).toBe("Latency OK: OK");
  expect(screen.getByRole("figure", { name: "finance.api_ms" }).textContent).toMatch(/212 ms/);
  act(() => live.second(T0 + 1, { "finance.latency_high": 1 }));
  expect(screen.getByRole("status").textContent).toBe("Latency OK: Not OK");
});

// Nobody may edit it: the digest is of the code block in section 5 of the founding document.
test("and nobody has changed it", async () => {
  const text = readFileSync(new URL("../../examples/LatencyBoard.js", import.meta.url.replace(/^(?!file:)/, "file://")));
  const digest = await crypto.subtle.digest("SHA-256", text);
  expect(Buffer.from(digest).toString("hex")).toBe("3693a3070218dc2e0a650cf2e8266a3647bd19992dc9ea73d7f699737364a431");
});
