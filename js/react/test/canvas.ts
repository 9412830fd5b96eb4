/** jsdom has no canvas: a context that takes every call and keeps what was drawn, and the Path2D it is drawn with. */
import { vi } from "vitest";

/** Media queries that hold; jsdom knows none, and uPlot asks for one as soon as it is imported: import this file first. */
export const media = new Set<string>();
const mediaListeners = new Map<string, Set<() => void>>();

export function setMedia(query: string, holds: boolean): void {
  if (holds) media.add(query);
  else media.delete(query);
  for (const changed of mediaListeners.get(query) ?? []) changed();
}

export const mediaListenerCount = (): number => [...mediaListeners.values()].reduce((sum, one) => sum + one.size, 0);

if (typeof window !== "undefined") {
  window.matchMedia = (query: string) => ({
    get matches() {
      return media.has(query);
    },
    media: query,
    addEventListener: (_: string, changed: () => void) =>
      void mediaListeners.set(query, (mediaListeners.get(query) ?? new Set()).add(changed)),
    removeEventListener: (_: string, changed: () => void) => void mediaListeners.get(query)?.delete(changed),
  }) as unknown as MediaQueryList;
}

/** What was called on any context, newest last: the method and what it was given. */
export const drawn: [string, unknown[]][] = [];

/** What is observed is there at once, and observed until it is let go. */
export const observed = new Set<object>();

class Observer {
  constructor(private readonly tell: () => void) {}
  observe(): void {
    observed.add(this);
    this.tell();
  }
  disconnect(): void {
    observed.delete(this);
  }
}

class Path {
  constructor(readonly text: string = "") {}
  moveTo(): void {}
  lineTo(): void {}
  rect(): void {}
  arc(): void {}
  closePath(): void {}
  addPath(): void {}
  bezierCurveTo(): void {}
}

function contextOf(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const state: Record<string, unknown> = { canvas };
  return new Proxy(state, {
    get: (known, name: string) => name in known ? known[name] : (...given: unknown[]) => {
      drawn.push([name, given]);
      return name === "measureText" ? { width: String(given[0]).length * 7 } : undefined;
    },
    set: (known, name: string, value) => ((known[name] = value), true),
  }) as unknown as CanvasRenderingContext2D;
}

export function stubCanvas(): void {
  const contexts = new WeakMap<HTMLCanvasElement, CanvasRenderingContext2D>();
  vi.stubGlobal("Path2D", Path);
  vi.stubGlobal("ResizeObserver", class extends Observer {
    constructor(changed: (entries: object[]) => void) {
      super(() => changed([{ contentRect: { width: 600, height: 160 } }]));
    }
  });
  vi.stubGlobal("IntersectionObserver", class extends Observer {
    constructor(changed: (entries: object[]) => void) {
      super(() => changed([{ isIntersecting: true }]));
    }
  });
  HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement) {
    if (!contexts.has(this)) contexts.set(this, contextOf(this));
    return contexts.get(this)!;
  } as never;
}
