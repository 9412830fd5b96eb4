// How long a function takes, in milliseconds, whether it returns, resolves, throws or rejects.

type Record = (name: string, ms: number) => void;

/**
 * The function, timed: same `this`, arguments and result. A promise is timed until it settles; what else it may return
 * (an iterator, a stream) is timed until it is returned.
 */
export function timedWith<This, A extends unknown[], R>(
  record: Record, name: string, fn: (this: This, ...given: A) => R,
): (this: This, ...given: A) => R {
  return function (this: This, ...given: A): R {
    const start = performance.now();
    const end = (): void => record(name, performance.now() - start);
    let result: R;
    try {
      result = fn.apply(this, given);
    } catch (error) {
      end();
      throw error;
    }
    // The promise that is handed on is the one that ends after the record: were it only listened to, a rejection that
    // nobody handles would pass for handled.
    if (result instanceof Promise) return result.finally(end) as R;
    end();
    return result;
  };
}
