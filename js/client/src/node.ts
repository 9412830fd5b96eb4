// The client in Node: samples leave as UDP datagrams to HMS_OPS_URL, questions go to HMS_OPS_HTTP.
import { BaseClient } from "./client.js";
import { timedWith } from "./timed.js";
import type { ClientSettings } from "./types.js";
import { node } from "./udp.js";

export class Client extends BaseClient {
  constructor(settings: ClientSettings = {}) {
    super(settings, node);
  }
}

/** The default client; HMS_OPS_URL, HMS_OPS_HTTP and HMS_OPS_TOKEN say where to, read when it is first used. */
export const ops = new Client();

/** The function, timed under `name` with the default client. */
export const timed = <This, A extends unknown[], R>(fn: (this: This, ...given: A) => R, name: string) =>
  timedWith<This, A, R>((metric, ms) => ops.timing(metric, ms), name, fn);

export { ProblemError, Unreachable } from "./http.js";
export type * from "./types.js";
