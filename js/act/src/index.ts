// Asks an action service (HMS-ACT) to run a template, in the words in which the engine's own actions do (docs/alerts.md):
//
//     POST {url}/v1/run    Idempotency-Key: KEY
//     {"template":"infra.scale-db","input":{"replicas":2},"idempotency_key":KEY}
//
// A request is sent once. One without an answer may have arrived and been carried out: what is tried again is tried with
// the same key, so that the service can tell.

export interface Run {
  /** What to run. */
  readonly template: string;
  readonly input?: object | undefined;
  /** The alert that is the reason, as onAlert hands it over. */
  readonly alert?: object | undefined;
  /** Runs of the same key are one run; a new one without it. */
  readonly idempotencyKey?: string | undefined;
}

export interface ActSettings {
  /** http://HOST:PORT of the action service; HMS_ACT_URL without it. */
  readonly url?: string | undefined;
  /** Sent as a bearer token; HMS_ACT_TOKEN without it. */
  readonly token?: string | undefined;
  readonly timeoutMs?: number | undefined;
}

/** The service refused, or did not answer (`status` 0: it may have run all the same). */
export class ActError extends Error {
  override readonly name = "ActError";
  constructor(
    readonly status: number,
    message: string,
    /** The service's own words, where it answered with a problem document (RFC 9457). */
    readonly problem: Readonly<Record<string, unknown>> | null = null,
  ) {
    super(message);
  }
}

const TIMEOUT_MS = 10_000;

export class ActClient {
  constructor(private readonly settings: ActSettings = {}) {}

  /** Run a template at the service that HMS_ACT_URL names. Resolves to the service's answer. */
  static run(run: Run): Promise<unknown> {
    return new ActClient().run(run);
  }

  async run({ template, input = {}, alert, idempotencyKey = newKey() }: Run): Promise<unknown> {
    const url = (this.settings.url ?? env("HMS_ACT_URL") ?? "").replace(/\/+$/, "");
    if (!/^https?:\/\//.test(url)) throw new ActError(0, `no action service: HMS_ACT_URL is http://HOST:PORT, not ${JSON.stringify(url)}`);
    if (!template || typeof template !== "string") throw new TypeError("template names what to run");
    const token = this.settings.token ?? env("HMS_ACT_TOKEN");
    const response = await fetch(`${url}/v1/run`, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        Accept: "application/json",
        "Idempotency-Key": idempotencyKey,
        ...(token ? { Authorization: `Bearer ${token}` } : {}),
      },
      body: JSON.stringify({ template, input, alert, idempotency_key: idempotencyKey }),
      redirect: "error", // a run is not to be asked of somebody else
      signal: AbortSignal.timeout(this.settings.timeoutMs ?? TIMEOUT_MS),
    }).catch((error: Error) => {
      throw new ActError(0, `no answer from ${url}: ${(error.cause as Error | undefined)?.message || error.message}`);
    });
    return answerOf(response, template);
  }
}

async function answerOf(response: Response, template: string): Promise<unknown> {
  const text = await response.text().catch(() => "");
  const document = parsed(text);
  if (response.ok) return document ?? text;
  const problem = typeof document === "object" ? (document as Readonly<Record<string, unknown>> | null) : null;
  const detail = typeof problem?.detail === "string" ? problem.detail : text.slice(0, 500) || response.statusText;
  throw new ActError(response.status, `HTTP ${response.status} for ${template}: ${detail}`, problem);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const env = (name: string): string | undefined => globalThis.process?.env?.[name] || undefined;

const newKey = (): string => globalThis.crypto.randomUUID?.() ?? `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
