/**
 * `useDocument`: a JSON document of the engine, read again every so often, with its ETag, and one reader for all who
 * show the same path. While the tab is hidden nothing is asked. A failed reading keeps what was read before and says so.
 */

import { useCallback, useEffect, useRef, useSyncExternalStore } from "react";
import { askAgain, Refusal } from "./request";

export interface DocumentState<T> {
  readonly data: T | null;
  /** Why the last reading failed; `data` may still hold an older one. */
  readonly error: Refusal | null;
  readonly loading: boolean;
  /** Date.now() of the last reading that succeeded (304 too); 0 before. */
  readonly readAt: number;
}

export interface DocumentAnswer<T> extends DocumentState<T> {
  /** Read again at once, after something was changed. */
  readonly reload: () => Promise<void>;
}

/** Documents that nobody shows are forgotten once there are more than these. */
export const KEPT_MAX = 40;
const START: DocumentState<never> = { data: null, error: null, loading: true, readAt: 0 };
const readers = new Map<string, Reader>();

class Reader {
  state: DocumentState<unknown> = START;
  private etag: string | null = null;
  private running: Promise<void> | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly listeners = new Map<() => void, number>();

  constructor(private readonly path: string) {}

  get isIdle(): boolean {
    return this.listeners.size === 0;
  }

  listen(changed: () => void, every: number): () => void {
    this.listeners.set(changed, every);
    if (Date.now() - this.state.readAt > Math.min(every, 1) * 1000) void this.read();
    else this.plan();
    return () => {
      this.listeners.delete(changed);
      if (this.isIdle) clearTimeout(this.timer);
      if (this.isIdle) forget();
    };
  }

  /** Readings do not overlap; who asks while one is under way gets a new one behind it. */
  async read(): Promise<void> {
    if (this.running) await this.running;
    this.running ??= this.once().finally(() => {
      this.running = null;
      this.plan();
    });
    return this.running;
  }

  private async once(): Promise<void> {
    try {
      const answer = await askAgain<unknown>(this.path, this.etag);
      if (answer) this.etag = answer.etag;
      const isNews = answer !== null || this.state.error !== null || this.state.loading;
      const next = { data: answer ? answer.data : this.state.data, error: null, loading: false, readAt: Date.now() };
      if (isNews) this.become(next);
      else this.state = Object.assign(this.state, { readAt: next.readAt });
    } catch (error) {
      this.become({ ...this.state, error: asRefusal(error), loading: false });
    }
  }

  private become(state: DocumentState<unknown>): void {
    this.state = state;
    for (const changed of [...this.listeners.keys()]) changed();
  }

  private plan(): void {
    clearTimeout(this.timer);
    const every = Math.min(...this.listeners.values());
    if (Number.isFinite(every) && every > 0) this.timer = setTimeout(() => void this.whenSeen(), every * 1000);
  }

  private whenSeen(): void {
    if (!document.hidden) return void this.read();
    document.addEventListener("visibilitychange", () => !this.isIdle && void this.read(), { once: true });
  }
}

const asRefusal = (error: unknown): Refusal =>
  error instanceof Refusal ? error : new Refusal(0, { type: "about:blank", title: "unreadable", status: 0, detail: String(error) });

function readerOf(path: string): Reader {
  let reader = readers.get(path);
  if (!reader) readers.set(path, (reader = new Reader(path)));
  return reader;
}

function forget(): void {
  for (const [path, reader] of readers) {
    if (readers.size <= KEPT_MAX) return;
    if (reader.isIdle) readers.delete(path);
  }
}

/** The document at `path` (null: none yet), read again every `every` seconds (0: once). */
export function useDocument<T>(path: string | null, { every = 10 }: { every?: number } = {}): DocumentAnswer<T> {
  const subscribe = useCallback(
    (changed: () => void) => (path === null ? () => undefined : readerOf(path).listen(changed, every)),
    [path, every],
  );
  const snapshot = (): DocumentState<unknown> => (path === null ? START : readerOf(path).state);
  const state = useSyncExternalStore(subscribe, snapshot) as DocumentState<T>;
  const wanted = useRef(path);
  useEffect(() => void (wanted.current = path), [path]);
  const reload = useCallback(async () => {
    if (wanted.current !== null) await readerOf(wanted.current).read();
  }, []);
  return { ...state, loading: path !== null && state.loading, reload };
}

/** Read every document that begins so again: after an action that changes several. */
export function reload(prefix: string): void {
  for (const [path, reader] of readers) if (path.startsWith(prefix) && !reader.isIdle) void reader.read();
}
