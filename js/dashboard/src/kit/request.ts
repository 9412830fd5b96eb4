/** How screens ask the engine: same origin, JSON, refusals as `Refusal` with what the engine said. */

import type { Problem } from "@hms-ops/client";

/** The engine's refusal (RFC 9457), or that it could not be reached at all (status 0). */
export class Refusal extends Error {
  override readonly name = "Refusal";
  constructor(
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(problem.detail || problem.title);
  }
}

export interface Answer<T> {
  readonly data: T;
  readonly etag: string | null;
}

export interface Ask {
  readonly method?: "GET" | "POST" | "PUT" | "DELETE";
  /** Sent as JSON; a string as it is. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  readonly timeout_ms?: number;
}

export const TIMEOUT_MS = 15_000;
const refused = new Set<() => void>();

/** Tells when the engine answers 401: the session has ended. */
export function onUnauthorized(handler: () => void): () => void {
  refused.add(handler);
  return () => refused.delete(handler);
}

/** Ask and read JSON; 204 and empty answers are null. */
export async function ask<T>(path: string, options: Ask = {}): Promise<T> {
  return (await askWithEtag<T>(path, options)).data;
}

export async function askWithEtag<T>(path: string, options: Ask = {}): Promise<Answer<T>> {
  const response = await send(path, options);
  const text = await response.text();
  if (!response.ok) throw refusalOf(response, text, path);
  return { data: (text ? JSON.parse(text) : null) as T, etag: response.headers.get("etag") };
}

/** Ask for a document that was read before: null when it is still the same. */
export async function askAgain<T>(path: string, etag: string | null, options: Ask = {}): Promise<Answer<T> | null> {
  const response = await send(path, etag ? { ...options, headers: { ...options.headers, "If-None-Match": etag } } : options);
  if (response.status === 304) return null;
  const text = await response.text();
  if (!response.ok) throw refusalOf(response, text, path);
  return { data: JSON.parse(text) as T, etag: response.headers.get("etag") };
}

async function send(path: string, options: Ask): Promise<Response> {
  const limit = AbortSignal.timeout(options.timeout_ms ?? TIMEOUT_MS);
  const isText = typeof options.body === "string";
  const headers: Record<string, string> = { Accept: "application/json", ...options.headers };
  if (options.body !== undefined && !isText) headers["Content-Type"] = "application/json";
  const init: RequestInit = {
    method: options.method ?? "GET",
    headers,
    cache: "no-store",
    credentials: "same-origin",
    signal: options.signal ? AbortSignal.any([options.signal, limit]) : limit,
  };
  if (options.body !== undefined) init.body = isText ? (options.body as string) : JSON.stringify(options.body);
  try {
    return await fetch(path, init);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw unreachable(error);
  }
}

function unreachable(error: unknown): Refusal {
  const late = error instanceof DOMException && error.name === "TimeoutError";
  const detail = late ? "The engine did not answer in time." : "The engine cannot be reached.";
  return new Refusal(0, { type: "about:blank", title: "unreachable", status: 0, detail });
}

function refusalOf(response: Response, text: string, path: string): Refusal {
  if (response.status === 401 && path !== "/v1/session") for (const handler of [...refused]) handler();
  return new Refusal(response.status, problemOf(response, text));
}

function problemOf(response: Response, text: string): Problem {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && "detail" in value) return value as Problem;
  } catch {
    // Not the engine's own words: something between it and us.
  }
  return { type: "about:blank", title: response.statusText, status: response.status, detail: `The engine answered ${response.status} ${response.statusText}.` };
}
