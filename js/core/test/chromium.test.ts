// In a real browser: two pages of one origin share a stream, and the second goes on when the first is closed.
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { afterEach, beforeEach, expect, it } from "vitest";
import { cellsOf, event, json, serving, until, type Serving } from "../../client/test/serving.js";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

// Frames are browsing contexts of their own, as tabs are: to take one away is to close it.
const TABS = `<!doctype html><title>tabs</title>
<iframe id="a" src="/page?metric=a"></iframe><iframe id="b" src="/page?metric=b"></iframe>
<script>
  new EventSource("/commands").onmessage = ({ data }) => document.getElementById(data).remove();
</script>`;

let server: Serving;
let browser: ChildProcess;
let profile: string;
let seen: URLSearchParams[];
let command: (text: string) => void;

async function bundled(): Promise<string> {
  const bundle = await rolldown({
    input: source("page.ts"),
    platform: "browser",
    tsconfig: false, // its paths name the entry for Node
    resolve: { alias: { "@hms-ops/client": source("../../client/src/browser.ts") }, extensionAlias: { ".js": [".ts", ".js"] } },
  });
  const { output } = await bundle.generate({ format: "esm" });
  await bundle.close();
  return output[0].code;
}

beforeEach(async () => {
  const code = await bundled();
  seen = [];
  server = await serving();
  server.answer = ({ path }, response) => {
    const url = new URL(path, server.url);
    if (url.pathname === "/tabs") response.writeHead(200, { "Content-Type": "text/html" }).end(TABS);
    else if (url.pathname === "/page") response.writeHead(200, { "Content-Type": "text/html" }).end(`<script type=module src=/page.js></script>`);
    else if (url.pathname === "/page.js") response.writeHead(200, { "Content-Type": "text/javascript" }).end(code);
    else if (url.pathname === "/commands") {
      response.writeHead(200, { "Content-Type": "text/event-stream" }).write("\n");
      command = (text) => void response.write(`data: ${text}\n\n`);
    } else {
      if (url.pathname === "/seen") seen.push(url.searchParams);
      json(response, 200, {});
    }
  };
  profile = mkdtempSync(`${tmpdir()}/hms-ops-chromium-`);
  const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", `--user-data-dir=${profile}`];
  if (existsSync(CHROMIUM)) browser = spawn(CHROMIUM, [...flags, `${server.url}/tabs`], { stdio: "ignore", detached: true });
});

afterEach(async () => {
  if (browser) {
    const ended = new Promise((done) => browser.on("exit", done));
    process.kill(-(browser.pid as number), "SIGKILL"); // with the processes it has made
    await ended;
  }
  await server.close();
  await rm(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

const streams = () => server.asked.filter(({ path }) => path.startsWith("/v1/stream"));
const metrics = (): string => new URL(streams().at(-1)?.path ?? "/", server.url).searchParams.getAll("metric").join();
const lines = (): string[] => server.asked.filter(({ path }) => path === "/v1/ingest").flatMap(({ body }) => body.split("\n"));
const send = (time: number, values: Record<string, number>): void =>
  server.streams.forEach((stream) => stream.write(event("cells", `${time}.1.e`, cellsOf(time, values))));

it.skipIf(!existsSync(CHROMIUM))("pages share one stream, emit, and take over from each other", async () => {
  await until("one stream of both", () => server.streams.length === 1 && metrics() === "a,b", 60_000);
  await until("what they emit", () => lines().filter((line) => line.startsWith("page.loaded")).length === 2);
  send(100, { a: 1, b: 2 });
  await until("both see their cell", () => seen.some((one) => one.get("a") === "1") && seen.some((one) => one.get("b") === "2"));
  expect(seen.every((one) => one.get("connection") === "live")).toBe(true);
  const leader = seen.length && streams().length;
  command("a");
  await until("a stream for the other", () => server.streams.length === 1 && metrics() === "b", 30_000);
  expect(streams().length).toBeGreaterThan(leader);
  await until("what the closed one emitted last", () => lines().some((line) => line === "page.left:1|g|#metric:a"));
  send(101, { b: 3 });
  await until("it goes on", () => seen.some((one) => one.get("b") === "2,3"));
}, 120_000);
