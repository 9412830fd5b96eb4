// Handlers that others wrote: one that throws, rejects or never ends costs the others nothing, and is counted.

/** calls: begun; errors: threw or rejected; skipped: not called, because PENDING_MAX of its calls had not ended. */
export interface CallCounters {
  readonly calls: number;
  readonly errors: number;
  readonly skipped: number;
}

const PENDING_MAX = 64;
const LOG_MS = 10_000;

const counts = { calls: 0, errors: 0, skipped: 0 };

/** What became of all calls of handlers since the start. */
export const counters = (): CallCounters => ({ ...counts });

/** The handler as it can be called safely; `what` names it in the log. */
export function guarded<A extends unknown[]>(what: string, handler: (...given: A) => unknown): (...given: A) => void {
  let pending = 0;
  let loggedAt = -Infinity;

  function failed(error: unknown): void {
    counts.errors++;
    if (Date.now() - loggedAt < LOG_MS) return;
    loggedAt = Date.now();
    console.error(`hms-ops: a handler of ${what} failed:`, error);
  }

  return (...given) => {
    if (pending >= PENDING_MAX) return void counts.skipped++;
    counts.calls++;
    try {
      const result = handler(...given);
      if (!isThenable(result)) return;
      pending++;
      result.then(() => pending--, (error: unknown) => (pending--, failed(error)));
    } catch (error) {
      failed(error);
    }
  };
}

const isThenable = (result: unknown): result is PromiseLike<unknown> =>
  typeof (result as PromiseLike<unknown> | null)?.then === "function";
