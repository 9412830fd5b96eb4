/** The plot of a chart: made when its host is there, told of each render, made anew where its shape changes. */
import { useEffect, useRef, type RefObject } from "react";
import { createPlot, type Plot, type PlotEvents, type PlotShape, type PlotView } from "./plot.js";

export function usePlot(shape: PlotShape, view: PlotView, events: PlotEvents, isHidden: boolean): RefObject<HTMLDivElement | null> {
  const host = useRef<HTMLDivElement>(null), plot = useRef<Plot | null>(null), now = useRef({ view, events }).current;
  useEffect(() => {
    Object.assign(now, { view, events });
    plot.current?.show();
  });
  useEffect(() => {
    if (!host.current) return;
    host.current.style.height = `${shape.height / 16}rem`; // grows with the text
    if (!shape.lines) return;
    plot.current = createPlot(host.current, shape, now);
    return () => {
      plot.current?.destroy();
      plot.current = null;
    };
  }, [JSON.stringify(shape), isHidden]);
  return host;
}
