import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { json, serving, type Serving } from "../../client/test/serving.js";
import { ActClient, ActError } from "../src/index.js";

let server: Serving;

beforeEach(async () => {
  server = await serving();
  vi.stubEnv("HMS_ACT_URL", `${server.url}/`);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await server.close();
});

it("asks for a run as the engine's own actions do", async () => {
  server.answer = (_, response) => json(response, 202, { run: 7 });
  expect(await ActClient.run({ template: "infra.scale-db", input: { replicas: 2 } })).toEqual({ run: 7 });
  const { method, path, headers, body } = server.asked[0]!;
  const asked = JSON.parse(body) as Record<string, string>;
  expect([method, path, headers["content-type"]]).toEqual(["POST", "/v1/run", "application/json"]);
  expect(asked).toEqual({ template: "infra.scale-db", input: { replicas: 2 }, idempotency_key: headers["idempotency-key"] });
  expect(asked.idempotency_key!.length).toBeGreaterThan(15);
});

it("has a key for each run, or the one it is given, and shows its token", async () => {
  const act = new ActClient({ url: server.url, token: "secret" });
  await act.run({ template: "a" });
  await act.run({ template: "a" });
  await act.run({ template: "a", idempotencyKey: "mine", alert: { name: "x" } });
  const keys = server.asked.map(({ headers }) => headers["idempotency-key"]);
  expect(new Set(keys).size).toBe(3);
  expect(keys[2]).toBe("mine");
  expect(JSON.parse(server.asked[2]!.body)).toEqual({ template: "a", input: {}, alert: { name: "x" }, idempotency_key: "mine" });
  expect(server.asked[0]!.headers.authorization).toBe("Bearer secret");
});

it("hands a refusal over with the service's words", async () => {
  const problem = { type: "x", title: "no", status: 409, detail: "it is being scaled" };
  server.answer = (_, response) => json(response, 409, problem);
  const error = await ActClient.run({ template: "a" }).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(ActError);
  expect(error).toMatchObject({ status: 409, problem, message: "HTTP 409 for a: it is being scaled" });
  server.answer = (_, response) => response.writeHead(500).end("oh");
  await expect(ActClient.run({ template: "a" })).rejects.toMatchObject({ status: 500, problem: null, message: "HTTP 500 for a: oh" });
});

it("does not wait for ever, follows nobody elsewhere, and asks once", async () => {
  server.answer = () => undefined;
  await expect(new ActClient({ timeoutMs: 30 }).run({ template: "a" })).rejects.toMatchObject({ name: "ActError", status: 0 });
  server.answer = (_, response) => response.writeHead(307, { Location: "/elsewhere" }).end();
  await expect(ActClient.run({ template: "a" })).rejects.toMatchObject({ status: 0 });
  expect(server.asked).toHaveLength(2);
});

it("says what is missing", async () => {
  vi.stubEnv("HMS_ACT_URL", "");
  await expect(ActClient.run({ template: "a" })).rejects.toThrow("HMS_ACT_URL is http://HOST:PORT");
  await expect(new ActClient({ url: server.url }).run({ template: "" })).rejects.toThrow("template");
});
