/** What a chart shows besides its lines, on the canvas: anomalies, thresholds, the shape at each line's end. */
import uPlot from "uplot";
import { formatValue } from "../format.js";
import { colourOf, shapeOf } from "./marks.js";
import type { Anomaly, Threshold } from "./plot.js";
import type { Theme } from "./theme.js";

const HATCH_PIXELS = 8;

/** Shade them behind the lines: a tint, a hatch for those who do not see it, and the name. */
export function drawAnomalies(plot: uPlot, theme: Theme, anomalies: readonly Anomaly[]): void {
  const { ctx, bbox } = plot, { min, max } = plot.scales["x"]!;
  for (const { from, to, name } of anomalies) {
    if (from > max! || (to ?? max!) < min!) continue;
    const left = plot.valToPos(Math.max(from, min!), "x", true);
    const width = Math.max(2, plot.valToPos(Math.min(to ?? max!, max!), "x", true) - left);
    hatched(ctx, theme, left, bbox.top, width, bbox.height);
    labelled(plot, theme, name, left + 4, bbox.top + theme.fontSize * uPlot.pxRatio, theme.anomaly);
  }
}

function hatched(ctx: CanvasRenderingContext2D, theme: Theme, left: number, top: number, width: number, height: number): void {
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.fillStyle = ctx.strokeStyle = theme.anomaly;
  ctx.globalAlpha = 0.14;
  ctx.fillRect(left, top, width, height);
  ctx.globalAlpha = 0.55;
  ctx.lineWidth = uPlot.pxRatio;
  ctx.beginPath();
  const apart = HATCH_PIXELS * uPlot.pxRatio;
  // From the page's own grid, so that the hatch of a sliding window slides with it and does not flicker.
  for (let x = left - height - ((left - height) % apart); x < left + width; x += apart) {
    ctx.moveTo(x, top + height);
    ctx.lineTo(x + height, top);
  }
  ctx.stroke();
  ctx.restore();
}

/** A dashed line with its words above it, where the oldest samples are. */
export function drawThresholds(plot: uPlot, theme: Theme, thresholds: readonly Threshold[], unit: string): void {
  const { ctx, bbox } = plot, { min, max } = plot.scales["y"]!;
  for (const { value, name, tone } of thresholds) {
    if (value < min! || value > max!) continue;
    const y = Math.round(plot.valToPos(value, "y", true));
    const colour = theme[tone ?? "bad"];
    ctx.save();
    ctx.strokeStyle = colour;
    ctx.lineWidth = 1.5 * uPlot.pxRatio;
    ctx.setLineDash([6 * uPlot.pxRatio, 4 * uPlot.pxRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
    labelled(plot, theme, `${name} ${formatValue(value, unit)}`, bbox.left + 4, y - theme.fontSize * 0.3 * uPlot.pxRatio, colour);
  }
}

/** Text with a rim of the ground's colour, so that it can be read over lines. */
function labelled(
  plot: uPlot, theme: Theme, text: string, x: number, y: number, colour: string,
): void {
  const { ctx } = plot;
  ctx.save();
  ctx.font = `600 ${theme.fontSize * 0.75 * uPlot.pxRatio}px ${theme.fontFamily}`;
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  ctx.lineJoin = "round";
  ctx.lineWidth = 4 * uPlot.pxRatio;
  ctx.strokeStyle = theme.ground;
  ctx.strokeText(text, x, y);
  ctx.fillStyle = colour;
  ctx.fillText(text, x, y);
  ctx.restore();
}

/** The shape of each line on its newest sample in view. */
export function drawEnds(plot: uPlot, theme: Theme, lines: number): void {
  const { ctx } = plot, times = plot.data[0]!, { min, max } = plot.scales["x"]!;
  for (let line = 0; line < lines; line++) {
    const { show } = plot.series[line + 1]!, values = plot.data[line + 1]!;
    let at = show ? times.length - 1 : -1;
    while (at >= 0 && (values[at] == null || times[at]! > max!)) at--;
    if (at < 0 || times[at]! < min!) continue;
    ctx.save();
    ctx.translate(plot.valToPos(times[at]!, "x", true), plot.valToPos(values[at]!, "y", true));
    ctx.scale(uPlot.pxRatio, uPlot.pxRatio);
    const path = new Path2D(shapeOf(line));
    ctx.lineWidth = 2;
    ctx.strokeStyle = theme.ground;
    ctx.stroke(path);
    ctx.fillStyle = theme.lines[colourOf(line)]!;
    ctx.fill(path);
    ctx.restore();
  }
}
