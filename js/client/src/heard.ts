/**
 * A promise whose rejection does not end the process when nobody listens: `ops.alert(…)` is called without await, and
 * a service is not to die because its engine is away. `unheard` is told instead. Whoever awaits it gets the rejection.
 */
export class Heard<T> extends Promise<T> {
  #isHeard = false;

  static of<T>(promise: Promise<T>, unheard: (error: Error) => void): Promise<T> {
    const heard = new Heard<T>((resolve, reject) => promise.then(resolve, reject));
    Promise.prototype.then.call(heard, undefined, (error: Error) => {
      if (!heard.#isHeard) unheard(error);
    });
    return heard;
  }

  override then<A = T, B = never>(
    done?: ((value: T) => A | PromiseLike<A>) | null, failed?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#isHeard = true;
    return super.then(done, failed);
  }
}
