/** What a chart shows besides its lines, on the canvas: anomalies, thresholds, the shape at each line's end. */
import { visible } from "@hms-ops/core";
import uPlot from "uplot";
import { formatValue } from "../format.js";
import { colourOf, shapeOf } from "./marks.js";
import type { Anomaly, Threshold } from "./plot.js";
import type { Theme } from "./theme.js";

const HATCH_PIXELS = 8;
const TEXT_MAX = 30;

/** Shade them behind the lines: a tint, a hatch for those who do not see it, and the name. */
export function drawAnomalies(plot: uPlot, theme: Theme, anomalies: readonly Anomaly[]): void {
  const { ctx, bbox } = plot, { min, max } = plot.scales["x"]!, ends: number[] = [];
  for (const { from, to, name } of anomalies) {
    if (from > max! || (to ?? max!) < min!) continue;
    const left = plot.valToPos(Math.max(from, min!), "x", true);
    const width = Math.max(2, plot.valToPos(Math.min(to ?? max!, max!), "x", true) - left);
    hatched(ctx, theme, left, bbox.top, width, bbox.height);
    labelled(plot, theme, name, left, bbox.top + theme.fontSize * uPlot.pxRatio, theme.anomaly, ends);
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
    labelled(plot, theme, `${name} ${formatValue(value, unit)}`, bbox.left, y - theme.fontSize * 0.3 * uPlot.pxRatio, colour);
  }
}

/**
 * Text with a rim of the ground's colour, so that it can be read over lines. It ends where the canvas does, at the latest.
 * Where it would stand over another it stands in a row below; `ends`: where each row ends by now.
 */
function labelled(
  plot: uPlot, theme: Theme, text: string, left: number, top: number, colour: string, ends: number[] = [],
): void {
  const { ctx } = plot, size = theme.fontSize * uPlot.pxRatio;
  ctx.save();
  ctx.font = `600 ${size * 0.75}px ${theme.fontFamily}`;
  const words = visible(text, TEXT_MAX);
  const { width } = ctx.measureText(words), x = Math.min(left + 4, ctx.canvas.width - width);
  let row = 0;
  while (x < ends[row]!) row++;
  ends[row] = x + width + size;
  const y = top + row * size;
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  ctx.lineJoin = "round";
  ctx.lineWidth = 4 * uPlot.pxRatio;
  ctx.strokeStyle = theme.ground;
  ctx.fillStyle = colour;
  ctx.strokeText(words, x, y);
  ctx.fillText(words, x, y);
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
