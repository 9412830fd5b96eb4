// The client in browsers: samples are posted to /v1/ingest, questions go there too; without `http`, to the page's origin.
import { BaseClient } from "./client.js";
import { browser } from "./post.js";
import { timedWith } from "./timed.js";
import type { ClientSettings } from "./types.js";

export class Client extends BaseClient {
  constructor(settings: ClientSettings = {}) {
    super(settings, browser);
  }
}

/** The default client; it speaks to the page's own origin. */
export const ops = new Client();

/** The function, timed under `name` with the default client. */
export const timed = <This, A extends unknown[], R>(fn: (this: This, ...given: A) => R, name: string) =>
  timedWith<This, A, R>((metric, ms) => ops.timing(metric, ms), name, fn);

export { ProblemError, Unreachable } from "./http.js";
export type * from "./types.js";
