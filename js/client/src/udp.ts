// Datagrams to the engine from Node: one connected socket that keeps no process alive.
//
// It is opened with the first sample, because a socket that is connected is what can still send in the handler of `exit`,
// where nothing is waited for. Datagrams hold 1,432 bytes: an Ethernet frame less the headers of IPv6, UDP and a tunnel.
// Host names are resolved beside the program; what fails is tried again after a second.
import { createSocket, type Socket } from "node:dgram";
import { lookup } from "node:dns";
import { isIP } from "node:net";
import type { Datagram } from "./buffer.js";
import type { Carrier, Counter, Platform } from "./client.js";

const DATAGRAM_BYTES = 1432;
const RETRY_MS = 1000;
const QUEUE_BYTES_MAX = 1024 * 1024; // in Node's own queue, when the system's is full

interface Target {
  readonly host: string;
  readonly port: number;
}

/** The target of udp://HOST:PORT. */
export function targetOf(url: string): Target {
  const found = /^udp:\/\/(?:\[([^\]]+)\]|([^:/[\]]+))(?::(\d+))?\/?$/.exec(url);
  const port = Number(found?.[3] ?? 8125);
  if (!found || !(port > 0 && port < 65_536)) {
    throw new TypeError(`${JSON.stringify(url)} is not udp://HOST:PORT`); // Node has no Unix datagrams
  }
  return { host: (found[1] ?? found[2]) as string, port };
}

export class Udp implements Carrier {
  readonly datagramBytes = DATAGRAM_BYTES;
  readonly flushIntervalMs = 100;
  #target: Target | false | undefined;
  #socket: Socket | undefined;
  #isOpening = false;
  #triedAt = -Infinity;
  #flown = { samples: 0, datagrams: 0 }; // of the last flush

  readonly #count: (counter: Counter, n: number) => void;
  readonly #flush: () => void;

  constructor(
    url: string | undefined,
    count: (counter: Counter, n: number) => void,
    flush: () => void,
  ) {
    this.#count = count;
    this.#flush = flush;
    if (url !== undefined) this.#target = targetOf(url);
  }

  /** False while the socket opens, or the system takes no more. When it cannot be opened, `send` counts what comes. */
  isReady(): boolean {
    this.#open();
    return this.#socket ? this.#socket.getSendQueueSize() < QUEUE_BYTES_MAX : !this.#isOpening;
  }

  send(datagrams: readonly Datagram[]): void {
    this.#flown = { samples: 0, datagrams: 0 };
    for (const { text, samples } of datagrams) {
      if (this.#socket) this.#socket.send(text, (error) => this.#sent(samples, error));
      else this.#count("dropped_unreachable", samples);
    }
  }

  close(): void {
    exiting.delete(this.#flush);
    const socket = this.#socket;
    this.#socket = undefined;
    this.#triedAt = Infinity;
    if (socket) setImmediate(() => socket.close()); // behind what its queue holds
  }

  #sent(samples: number, error: Error | null): void {
    if (error) {
      this.#count("dropped_unreachable", samples);
      return this.#reset();
    }
    this.#flown.samples += samples;
    this.#flown.datagrams++;
    this.#count("sent", samples);
    this.#count("datagrams", 1);
  }

  /** Nobody listens there: the system says so after the datagrams have left. */
  #refused(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#count("sent", -this.#flown.samples);
    this.#count("datagrams", -this.#flown.datagrams);
    this.#count("dropped_unreachable", this.#flown.samples);
    this.#flown = { samples: 0, datagrams: 0 };
    this.#reset();
  }

  /** Open the socket, at most once a second. */
  #open(): void {
    if (this.#socket || this.#isOpening || Date.now() - this.#triedAt < RETRY_MS) return;
    this.#triedAt = Date.now();
    this.#target ??= targetOfEnvironment();
    if (!this.#target) return;
    const { host, port } = this.#target;
    exitWith(this.#flush);
    this.#isOpening = true;
    if (isIP(host)) this.#connect(host, isIP(host), port);
    // IPv4 first: "localhost" is ::1 as well, and an engine listens on 127.0.0.1 unless told otherwise.
    else lookup(host, { verbatim: false }, (error, address, family) => error ? this.#opened() : this.#connect(address, family, port));
  }

  #connect(address: string, family: number, port: number): void {
    const socket = createSocket(family === 6 ? "udp6" : "udp4");
    socket.on("error", () => (this.#isOpening ? (socket.close(), this.#opened()) : this.#refused(socket)));
    socket.on("connect", () => this.#opened(socket)); // given to `connect` it would be called without a way there as well
    socket.connect(port, address);
    socket.unref();
  }

  #opened(socket?: Socket): void {
    this.#isOpening = false;
    if (this.#triedAt === Infinity) return void socket?.close(); // closed meanwhile
    this.#socket = socket;
    this.#flush();
  }

  /** A name may have moved: connect anew. */
  #reset(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }
}

/** False where it names none: that is said once. */
function targetOfEnvironment(): Target | false {
  try {
    return targetOf(process.env.HMS_OPS_URL || "udp://127.0.0.1:8125");
  } catch (error) {
    console.error(`hms-ops: HMS_OPS_URL: ${(error as Error).message}; metrics are dropped`);
    return false;
  }
}

// What is buffered leaves at the end: `beforeExit` when nothing is left to do, `exit` at process.exit().
const exiting = new Set<() => void>();

function exitWith(flush: () => void): void {
  if (!exiting.size) {
    for (const event of ["beforeExit", "exit"]) process.on(event, flushAll);
  }
  exiting.add(flush);
}

const flushAll = (): void => exiting.forEach((flush) => flush());

export const node: Platform = {
  env: (name) => process.env[name] || (name === "HMS_OPS_HTTP" ? "http://127.0.0.1:8126" : undefined),
  carrier: (_site, url, count, flush) => new Udp(url, count, flush),
  later: (ms, call) => void setTimeout(call, ms).unref(),
};
