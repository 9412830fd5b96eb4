// The alerts that are pending or firing, and the rules: read again after each alert event, and now and then.
import type { AlertsAnswer, Client } from "@hms-ops/client";

/** `at`: when it was read (ms), null before the first answer. */
export interface Alerts extends AlertsAnswer {
  readonly at: number | null;
}

const NONE: Alerts = Object.freeze({ alerts: Object.freeze([]), rules: Object.freeze([]), at: null });
const SOON_MS = 100; // a storm of events is one question
const REST_MS = 1000;
const NOW_AND_THEN_MS = 30_000; // an event may be lost
const AGAIN_MS = 5000;

export class Board {
  shown: Alerts = NONE;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readAt = -Infinity;
  private isReading = false;
  private isStale = false;
  private isWanted = false;
  private text = "";

  constructor(
    private readonly client: Client,
    private readonly changed: () => void,
  ) {}

  want(isWanted: boolean): void {
    if (isWanted === this.isWanted) return;
    this.isWanted = isWanted;
    if (isWanted) void this.read();
    else clearTimeout(this.timer);
  }

  /** Something has happened: read again soon. */
  renew(): void {
    if (!this.isWanted) return;
    if (this.isReading) this.isStale = true;
    else this.later(Math.max(SOON_MS, this.readAt + REST_MS - Date.now()));
  }

  private later(ms: number): void {
    clearTimeout(this.timer);
    if (this.isWanted) this.timer = setTimeout(() => void this.read(), ms);
  }

  private async read(): Promise<void> {
    if (this.isReading) return;
    this.isReading = true;
    this.isStale = false;
    this.readAt = Date.now();
    let nextMs = NOW_AND_THEN_MS;
    try {
      this.take(await this.client.request<AlertsAnswer>("/v1/alerts"));
    } catch {
      nextMs = AGAIN_MS; // the stream's state says what is wrong
    }
    this.isReading = false;
    this.later(this.isStale ? REST_MS : nextMs);
  }

  private take(answer: AlertsAnswer): void {
    const text = JSON.stringify(answer);
    if (text === this.text) return;
    this.text = text;
    this.shown = { alerts: answer.alerts, rules: answer.rules, at: Date.now() };
    this.changed();
  }
}
