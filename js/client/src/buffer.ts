// Samples on their way out: lines packed into datagrams as they come, bounded in bytes.
import { bytesOf } from "./wire.js";

/** What is sent at once, and how many samples are in it. */
export interface Datagram {
  readonly text: string;
  readonly samples: number;
}

/**
 * Lines and JSON documents never share a datagram, because the engine tells formats apart by the first byte; documents
 * that follow each other share one as an array. The order of samples is kept. Past `bytesMax` waiting bytes the newest
 * sample is turned away.
 */
export class Buffer {
  /** That wait. */
  bytes = 0;
  #sealed: Datagram[] = [];
  #parts: string[] = [];
  #partBytes = 0;
  #hasDocuments = false;

  readonly #bytesMax: number;
  readonly #datagramBytes: number;

  constructor(
    bytesMax: number,
    datagramBytes: number,
  ) {
    this.#bytesMax = bytesMax;
    this.#datagramBytes = datagramBytes;
  }

  get datagrams(): number {
    return this.#sealed.length;
  }

  /** Why the sample is turned away, or nothing. */
  add(text: string, isDocument: boolean): "dropped_invalid" | "dropped_full" | undefined {
    const bytes = bytesOf(text) + 1; // a newline, or a comma
    const edge = isDocument ? 1 : -1; // "[" and "]" around documents; the last line has no newline
    if (bytes + edge > this.#datagramBytes) return "dropped_invalid";
    if (this.bytes + bytes > this.#bytesMax) return "dropped_full";
    if (isDocument !== this.#hasDocuments || this.#partBytes + bytes + edge > this.#datagramBytes) this.#seal();
    this.#hasDocuments = isDocument;
    this.#parts.push(text);
    this.#partBytes += bytes;
    this.bytes += bytes;
    return undefined;
  }

  /** All that waits. */
  take(): Datagram[] {
    this.#seal();
    const taken = this.#sealed;
    this.#sealed = [];
    this.bytes = 0;
    return taken;
  }

  #seal(): void {
    if (!this.#parts.length) return;
    const text = this.#hasDocuments ? `[${this.#parts.join()}]` : this.#parts.join("\n");
    this.#sealed.push({ text, samples: this.#parts.length });
    this.#parts = [];
    this.#partBytes = 0;
  }
}
