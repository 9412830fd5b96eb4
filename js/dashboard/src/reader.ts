/**
 * The client of a page that asks and listens, and sends no samples: it stands in for @hms-ops/client in the build (see
 * vite.config.ts), whose other half, the emitting one, would be an idle 3 KB. Same requests, same stream.
 */

import type { Client as Full, RequestOptions, StreamHandlers, StreamWants, Subscription } from "@hms-ops/client";
import { request, type Site } from "../../client/src/http";
import { subscribe } from "../../client/src/subscribe";

export { ProblemError, Unreachable } from "../../client/src/http";

const TIMEOUT_MS = 15_000;
const HERE: Site = { http: () => "", token: () => undefined };
const uncounted = (): void => undefined;

export class Client implements Pick<Full, "http" | "request" | "subscribe"> {
  readonly http = "";

  request<T>(path: string, options: RequestOptions = {}): Promise<T> {
    return request<T>(HERE, path, options, TIMEOUT_MS);
  }

  subscribe(wants: StreamWants, handlers: StreamHandlers): Subscription {
    return subscribe(HERE, wants, handlers, uncounted);
  }
}

export const ops = /* @__PURE__ */ new Client();
