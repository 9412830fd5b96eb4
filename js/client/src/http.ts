// One request to an engine: JSON out, JSON back, a refusal as an Error that carries the engine's own document.
import type { Problem, RequestOptions } from "./types.js";

/** The engine answered, and refused. `problem` is what it said (RFC 9457). */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  constructor(
    readonly status: number,
    readonly problem: Problem,
    /** Seconds the engine asks to wait before trying again, or NaN. */
    readonly retryAfter: number = NaN,
  ) {
    super(`HTTP ${status}: ${problem.detail}`);
  }
}

/** No engine answers at the address: refused, no such host, or silent for longer than the timeout. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
}

export interface Site {
  /** Without a slash at its end; "" is the page's own origin. */
  readonly http: () => string;
  readonly token: () => string | undefined;
}

export async function request<T>(site: Site, path: string, options: RequestOptions, timeoutMs: number): Promise<T> {
  const { body } = options;
  const late = AbortSignal.timeout(options.timeoutMs ?? timeoutMs);
  const init = {
    method: options.method ?? (body === undefined ? "GET" : "POST"),
    headers: { ...(body !== undefined && typed(body)), ...options.headers },
    body: typeof body === "string" ? body : JSON.stringify(body) ?? null,
    signal: AbortSignal.any([options.signal ?? late, late]),
  };
  const response = await ask(site, path, init, options.parameters);
  const text = await reached(site, init, response.text());
  try {
    return (text ? JSON.parse(text) : null) as T;
  } catch {
    throw unread(response.status, "the answer is not JSON; is this an HMS-OPS engine?");
  }
}

/** The response where it is a success; ProblemError or Unreachable otherwise. What the caller aborted is thrown as it is. */
export async function ask(
  site: Site, path: string, init: RequestInit & { signal: AbortSignal }, parameters: RequestOptions["parameters"] = {},
): Promise<Response> {
  const headers = { ...bearer(site), Accept: "application/json", ...init.headers };
  const response = await reached(site, init, fetch(site.http() + path + queryOf(parameters), { cache: "no-store", ...init, headers }));
  if (response.ok) return response;
  throw await problemOf(response);
}

/** What comes over the network, its head or its body: either may be cut off or late. */
export const reached = <T>(site: Site, { signal }: { signal: AbortSignal }, coming: Promise<T>): Promise<T> =>
  coming.catch((error: Error) => {
    if (signal.aborted && signal.reason?.name !== "TimeoutError") throw error;
    const reason = (error.cause ?? error) as Error;
    throw new Unreachable(`no engine answers at ${site.http() || "this page's origin"}: ${reason.message || reason}`, { cause: error });
  });

export function bearer(site: Site): Record<string, string> {
  const token = site.token();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

const typed = (body: unknown) => ({ "Content-Type": typeof body === "string" ? "text/plain" : "application/json" });

/** A query string; what is undefined is left out, a list is repeated. */
export function queryOf(parameters: Readonly<Record<string, unknown>>): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null) given.append(name, String(one));
    }
  }
  const text = given.toString();
  return text && `?${text}`;
}

async function problemOf(response: Response): Promise<ProblemError> {
  const text = (await response.text().catch(() => "")).slice(0, 10_000);
  const after = parseFloat(response.headers.get("Retry-After") ?? "");
  try {
    const problem = JSON.parse(text) as Problem;
    if (typeof problem.detail === "string") return new ProblemError(response.status, problem, after);
  } catch {
    // Not the engine's: a proxy's page.
  }
  return unread(response.status, text || response.statusText, after);
}

const unread = (status: number, detail: string, after?: number): ProblemError =>
  new ProblemError(status, { type: "about:blank", title: detail, status, detail }, after);
