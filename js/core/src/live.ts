// The live store: what the React pieces, the dashboard and onMetric read. One stream brings the seconds; rings keep them;
// snapshots stay the same array until they change, as useSyncExternalStore wants them.
//
//     source (a stream, or another tab's) ─► rooms (a watched metric each) ─► watchers
//                                        └─► events, state, alerts (board)
import type { AlertsAnswer, Cell, CellsEvent, Client, StreamEvent, StreamState } from "@hms-ops/client";
import { Board } from "./board.js";
import { Room, SECONDS_DEFAULT, type Sort } from "./room.js";
import { Direct, type Source, type Wants } from "./source.js";
import { canShare, Shared } from "./shared.js";

export interface LiveState {
  readonly connection: "connecting" | "live" | "reconnecting" | "closed";
  /** The newest second. */
  readonly second: number | null;
  /** When it came: ms, Date.now(). */
  readonly receivedAt: number;
  readonly gaps: number;
  /** Why the stream is not live. */
  readonly error: string | null;
}

export type LiveEvent = Exclude<StreamEvent, CellsEvent>;

export interface WatchOptions {
  /** How many seconds are kept; 60 of them are there at once. */
  readonly seconds?: number | undefined;
}

export interface Live {
  readonly client: Client;
  /** The newest cells of a metric, pooled, oldest first, one per second that had samples. Snapshots: the same array until it changes. */
  cells(metric: string): readonly Cell[];
  /**
   * Want these cells from now on; `changed` after each second that brought one. Returns the end. A name with a trailing
   * `*` wants all metrics that begin so, each then in `cells` by its own name.
   */
  watch(metric: string, changed: () => void, options?: WatchOptions): () => void;
  /** The same per series: key is the tags' canonical text `{a="1"}`, "{}" for none. */
  seriesCells(metric: string): ReadonlyMap<string, readonly Cell[]>;
  watchSeries(metric: string, changed: () => void, options?: WatchOptions): () => void;
  /** Alerts that are pending or firing, and the rules; kept current while watched. */
  alerts(): AlertsAnswer;
  watchAlerts(changed: () => void): () => void;
  /** Every event but cells. */
  watchEvents(handler: (event: LiveEvent) => void): () => void;
  /** `second` changes each second. */
  state(): LiveState;
  watchState(changed: () => void): () => void;
  /** Snapshots of cells stand still; alerts, events and state go on, and so do cells behind them. */
  pause(): void;
  resume(): void;
  close(): void;
}

export interface LiveOptions {
  /** One stream for all tabs of the browser; default true where possible. */
  readonly shared?: boolean | undefined;
}

const LEAVE_MS = 5000; // a page that is left and entered again costs no reconnection
const CLOCK_BACK_SECONDS = 90; // more than is ever sent again: the engine's clock was set
const NO_SERIES: ReadonlyMap<string, readonly Cell[]> = new Map();
const NO_CELLS: readonly Cell[] = Object.freeze([]);

export function createLive(client: Client, options: LiveOptions = {}): Live {
  return new Store(client, options);
}

export class Store implements Live {
  /** Calls of watchers and handlers that threw or rejected. */
  errors = 0;
  private readonly source: Source;
  private readonly board: Board;
  private readonly rooms = { pooled: new Map<string, Room>(), series: new Map<string, Room>() };
  private readonly alertWatchers = new Set<() => void>();
  private readonly eventHandlers = new Set<(event: LiveEvent) => void>();
  private readonly stateWatchers = new Set<() => void>();
  private shown: LiveState = { connection: "connecting", second: null, receivedAt: 0, gaps: 0, error: null };
  private isPaused = false;
  private isClosed = false;

  constructor(
    readonly client: Client,
    options: LiveOptions,
  ) {
    const sink = { event: (event: StreamEvent) => this.take(event), state: this.takeState.bind(this) };
    this.board = new Board(client, () => this.tell(this.alertWatchers));
    this.source = options.shared !== false && canShare() ? new Shared(client, sink) : new Direct(client, sink);
  }

  cells(metric: string): readonly Cell[] {
    const own = this.rooms.pooled.get(metric);
    if (own) return own.cells(metric);
    for (const room of this.rooms.pooled.values()) {
      if (room.takes(metric)) return room.cells(metric);
    }
    return NO_CELLS;
  }

  /** The pooled cells as they are now, paused or not. */
  current(metric: string): readonly Cell[] {
    return this.rooms.pooled.get(metric)?.current() ?? NO_CELLS;
  }

  seriesCells(metric: string): ReadonlyMap<string, readonly Cell[]> {
    return this.rooms.series.get(metric)?.bySeries() ?? NO_SERIES;
  }

  watch(metric: string, changed: () => void, options?: WatchOptions): () => void {
    return this.enter("pooled", metric, changed, options?.seconds ?? SECONDS_DEFAULT);
  }

  watchSeries(metric: string, changed: () => void, options?: WatchOptions): () => void {
    return this.enter("series", metric, changed, options?.seconds ?? SECONDS_DEFAULT);
  }

  alerts(): AlertsAnswer {
    return this.board.shown;
  }

  watchAlerts(changed: () => void): () => void {
    const end = this.listen(this.alertWatchers, changed);
    this.board.want(true);
    return () => {
      end();
      this.board.want(this.alertWatchers.size > 0);
    };
  }

  watchEvents(handler: (event: LiveEvent) => void): () => void {
    return this.listen(this.eventHandlers, handler);
  }

  state(): LiveState {
    return this.shown;
  }

  watchState(changed: () => void): () => void {
    return this.listen(this.stateWatchers, changed);
  }

  pause(): void {
    if (this.isPaused) return;
    this.isPaused = true;
    for (const room of this.all()) room.freeze();
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    for (const room of this.all()) {
      room.thaw();
      this.tellRoom(room);
    }
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.board.want(false);
    this.source.close();
    this.takeState("closed", null);
  }

  private enter(sort: Sort, metric: string, changed: () => void, seconds: number): () => void {
    const rooms = this.rooms[sort];
    let room = rooms.get(metric);
    if (!room) rooms.set(metric, (room = new Room(metric, sort)));
    const entered = room;
    const watcher = room.watch(changed, seconds);
    this.want();
    return () => {
      entered.unwatch(watcher);
      if (!entered.watchers.size) this.leaveLater(() => this.leaveRoom(entered));
    };
  }

  private leaveRoom(room: Room): void {
    if (room.watchers.size || this.rooms[room.sort].get(room.name) !== room) return;
    this.rooms[room.sort].delete(room.name);
    this.want();
  }

  private listen<T>(listeners: Set<T>, listener: T): () => void {
    // Wrapped: the same function given twice is two listeners.
    const one = ((...given: never[]) => (listener as (...given: never[]) => void)(...given)) as T;
    listeners.add(one);
    this.want();
    return () => {
      listeners.delete(one);
      this.leaveLater(() => this.want());
    };
  }

  private leaveLater(leave: () => void): void {
    if (this.isClosed) return;
    const timer: { unref?: () => void } | number = setTimeout(leave, LEAVE_MS);
    if (typeof timer === "object") timer.unref?.(); // a process that has closed its streams need not wait for it
  }

  private *all(): Iterable<Room> {
    yield* this.rooms.pooled.values();
    yield* this.rooms.series.values();
  }

  private want(): void {
    if (this.isClosed) return;
    const wants: Wants = { metrics: [...this.rooms.pooled.keys()].sort(), series: [...this.rooms.series.keys()].sort() };
    const listeners = this.alertWatchers.size + this.eventHandlers.size + this.stateWatchers.size;
    this.source.want(listeners || wants.metrics.length || wants.series.length ? wants : null);
  }

  private take(event: StreamEvent): void {
    if (this.isClosed) return;
    if (event.type === "cells") return this.takeCells(event);
    if (event.type === "gap") this.show({ gaps: this.shown.gaps + 1 });
    for (const handler of [...this.eventHandlers]) void this.call(() => handler(event));
    if (event.type !== "action") this.board.renew();
  }

  private takeCells({ time, cells }: CellsEvent): void {
    const { second } = this.shown;
    const isBack = second !== null && time < second - CLOCK_BACK_SECONDS;
    if (isBack) for (const room of this.all()) room.clear();
    const touched = new Set<Room>();
    for (const cell of cells) {
      for (const room of this.roomsOf(cell)) {
        if (room.push(cell)) touched.add(room);
      }
    }
    if (second === null || time > second || isBack) this.show({ second: time, receivedAt: Date.now() });
    if (this.isPaused) return;
    for (const room of this.all()) if (room.forget(time) || touched.has(room)) this.tellRoom(room);
  }

  private *roomsOf(cell: Cell): Iterable<Room> {
    const rooms = this.rooms[cell.tags ? "series" : "pooled"];
    const own = rooms.get(cell.metric);
    if (own) yield own;
    for (const room of rooms.values()) if (room !== own && room.name.endsWith("*") && room.takes(cell.metric)) yield room;
  }

  private takeState(connection: StreamState, error: string | null): void {
    if (connection === "live" && this.shown.connection !== "live") this.board.renew();
    this.show({ connection, error });
  }

  private show(change: Partial<LiveState>): void {
    this.shown = { ...this.shown, ...change };
    this.tell(this.stateWatchers);
  }

  private tellRoom(room: Room): void {
    for (const { changed } of [...room.watchers.values()]) void this.call(changed);
  }

  private tell(listeners: ReadonlySet<() => void>): void {
    for (const listener of [...listeners]) void this.call(listener);
  }

  /** At once, up to the listener's own first await; one that rejects ends no process. */
  private async call(listener: () => void): Promise<void> {
    try {
      await listener();
    } catch (error) {
      if (this.errors++ < 10) console.error("hms-ops: a watcher failed:", error);
    }
  }
}
