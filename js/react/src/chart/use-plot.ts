/** The plot of a chart: made when its host is there, told what to show after each render, made anew where its shape changes. */
import { useEffect, useRef, type RefObject } from "react";
import { createPlot, type Plot, type PlotEvents, type PlotShape, type PlotView } from "./plot.js";

export function usePlot(shape: PlotShape, view: PlotView, events: PlotEvents, isHidden: boolean): RefObject<HTMLDivElement | null> {
  const host = useRef<HTMLDivElement>(null), plot = useRef<Plot | null>(null);
  const latest = useRef({ view, events });
  const { lines, hasBand, unit, height, syncKey } = shape;
  useEffect(() => {
    latest.current = { view, events };
    plot.current?.show(view);
  });
  useEffect(() => {
    if (!host.current) return;
    host.current.style.height = `${height / 16}rem`; // grows with the text
    if (!lines) return;
    const call = <A extends unknown[]>(name: (events: PlotEvents) => (...given: A) => void) =>
      (...given: A): void => name(latest.current.events)(...given);
    const made = plot.current = createPlot(host.current, shape, {
      hover: call((to) => to.hover), resized: call((to) => to.resized), zoom: call((to) => to.zoom),
      reset: call((to) => to.reset), moved: call((to) => to.moved),
    }, latest.current.view);
    return () => {
      made.destroy();
      plot.current = null;
    };
  }, [lines, hasBand, unit, height, syncKey, isHidden]);
  return host;
}
