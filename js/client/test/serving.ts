// A small HTTP server on a free port that answers as told, remembers what it was asked, and holds streams open.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export interface Serving {
  readonly url: string;
  readonly asked: Asked[];
  /** Streams that are open, oldest first. */
  readonly streams: ServerResponse[];
  /** What every other request is answered with. */
  answer: (asked: Asked, response: ServerResponse) => void;
  /** What a stream begins with; false refuses it with `answer`. */
  opens: boolean;
  close(): Promise<void>;
}

export async function serving(): Promise<Serving> {
  const server = createServer((request, response) => void handle(request, response));
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const it: Serving = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: [],
    streams: [],
    answer: (_, response) => json(response, 200, {}),
    opens: true,
    close: () => new Promise((done) => (server.close(() => done()), server.closeAllConnections())),
  };

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const piece of request) body += piece;
    const asked = { method: request.method ?? "", path: request.url ?? "", headers: request.headers, body };
    it.asked.push(asked);
    if (!asked.path.startsWith("/v1/stream") || !it.opens) return it.answer(asked, response);
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write("retry: 20\n\n");
    it.streams.push(response);
    response.on("close", () => it.streams.splice(it.streams.indexOf(response), 1));
  }
  return it;
}

export function json(response: ServerResponse, status: number, document: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "Content-Type": status < 300 ? "application/json" : "application/problem+json", ...headers });
  response.end(JSON.stringify(document));
}

export function event(type: string, id: string, document: unknown): string {
  return `event: ${type}\nid: ${id}\ndata: ${JSON.stringify(document)}\n\n`;
}

export function cellsOf(time: number, values: Readonly<Record<string, number>>): object {
  const cells = Object.entries(values).map(([metric, value]) => (
    { metric, tags: null, kind: "timer", value, count: 1, sum: value, min: value, max: value, last: value }));
  return { time, cells, left_out: 0 };
}

/** Waits until it is true, fifteen seconds at most. */
export async function until(what: string, isTrue: () => unknown, ms = 15_000): Promise<void> {
  const end = Date.now() + ms;
  while (!isTrue()) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 5));
  }
}
