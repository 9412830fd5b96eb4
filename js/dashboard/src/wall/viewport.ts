/** Which part of a tall element can be seen, in steps, so that scrolling renders seldom; and how wide the element is. */

import { useEffect, useLayoutEffect, useState, type RefObject } from "react";

export interface View {
  readonly from: number;
  readonly to: number;
  readonly width: number;
  /** Pixels of a rem: people choose their own. */
  readonly rem: number;
}

/** Beyond the screen so much is rendered in either direction; a step is half of it. */
export const BEYOND = 480;
const STEP = BEYOND / 2;

function look(element: HTMLElement): View {
  const box = element.getBoundingClientRect();
  const start = Math.floor(-box.top / STEP) * STEP;
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
  return { from: Math.max(0, start - BEYOND), to: start + STEP + window.innerHeight + BEYOND, width: element.clientWidth, rem };
}

const isSame = (a: View, b: View): boolean => a.from === b.from && a.to === b.to && a.width === b.width && a.rem === b.rem;

export function useView(place: RefObject<HTMLElement | null>): View | null {
  const [view, setView] = useState<View | null>(null);
  useLayoutEffect(() => {
    if (place.current) setView(look(place.current));
  }, [place]);
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    let frame = 0;
    const update = (): void => {
      frame = 0;
      setView((before) => {
        const now = look(element);
        return before && isSame(before, now) ? before : now;
      });
    };
    const plan = (): void => void (frame ||= requestAnimationFrame(update));
    const sizes = new ResizeObserver(plan);
    sizes.observe(element);
    sizes.observe(document.body); // what stands above may grow and move the element
    window.addEventListener("scroll", plan, { passive: true });
    window.addEventListener("resize", plan);
    return () => {
      cancelAnimationFrame(frame);
      sizes.disconnect();
      window.removeEventListener("scroll", plan);
      window.removeEventListener("resize", plan);
    };
  }, [place]);
  return view;
}
