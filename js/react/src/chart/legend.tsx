/** A chart's lines by name, as buttons that show and hide them, with what each is now or under the cursor. */
import { formatValue } from "../format.js";
import type { Line } from "./lines.js";
import { colourOf, dashOf, shapeOf } from "./marks.js";
import { valueAt } from "./reading.js";

interface LegendProps {
  lines: readonly Line[];
  hidden: ReadonlySet<string>;
  toggle: (key: string) => void;
  at: number | null;
  unit: string;
}

export function Legend({ lines, hidden, toggle, at, unit }: LegendProps) {
  return (
    <ul className="ops-legend">
      {lines.map((line, place) => (
        <li key={line.key}>
          <button type="button" aria-pressed={!hidden.has(line.key)} onClick={() => toggle(line.key)}>
            <Swatch line={place} />
            <span>{line.name}</span>
          </button>
          <strong>{formatValue(valueAt(line, at ?? Infinity), unit)}</strong>
        </li>
      ))}
    </ul>
  );
}

function Swatch({ line }: { line: number }) {
  return (
    <svg className={`ops-swatch ops-line-${colourOf(line) + 1}`} viewBox="0 0 36 12" aria-hidden="true">
      <path d="M0 6h36" strokeDasharray={dashOf(line).join(" ") || undefined} />
      <path d={shapeOf(line)} transform="translate(18 6)" />
    </svg>
  );
}
