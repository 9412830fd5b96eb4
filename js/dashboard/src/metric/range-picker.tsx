/** Choose how much time is shown; it stands in the address. A range of its own stands still until one goes back to now. */

import { Button, Choice } from "../kit/form";
import { dateTime } from "../kit/format";
import { change, useRoute } from "../router";
import { chosen, PRESET, spans, type Chosen } from "./ranges";

/** Zooming makes long fractions; the address keeps milliseconds. */
const rounded = (time: number): number => Math.round(time * 1000) / 1000;

export function useRange(): Chosen {
  const { range = PRESET, from = "", to = "" } = useRoute().parameters;
  return chosen(range, from, to);
}

/** What a chart tells of its zoom: in the address, as a step that Back undoes. */
export function zoomTo(window: { readonly from: number; readonly to: number } | null): void {
  change(window ? { from: rounded(window.from), to: rounded(window.to) } : { from: null, to: null }, true);
}

export function RangePicker() {
  const { key, fixed } = useRange();
  const choose = (range: string): void => change({ range: range === PRESET ? null : range, from: null, to: null }, true);
  return (
    <div className="range-picker">
      <Choice label="Range" value={fixed ? "" : key} choices={spans.map((span) => [span.key, span.words] as const)} onValue={choose} />
      {fixed && (
        <p>
          <span>{dateTime(fixed.from)} to {dateTime(fixed.to)}</span>
          <Button size="small" onClick={() => zoomTo(null)}>Back to now</Button>
        </p>
      )}
    </div>
  );
}
