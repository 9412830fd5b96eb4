/**
 * A table of rows that can be sorted by its headings. It shows `limit` rows and a button for more: a page stays quick
 * with any number. On narrow screens it scrolls inside its own frame, which can be focused and scrolled by keyboard.
 */

import { useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { useParameter } from "../router";
import { Button } from "./form";
import { Empty } from "./notes";
import { count } from "./format";

export interface Column<Row> {
  readonly key: string;
  readonly title: string;
  /** What the column sorts by and, without `cell`, shows. */
  readonly value: (row: Row) => string | number | null;
  readonly cell?: (row: Row) => ReactNode;
  /** Numbers stand at the end. */
  readonly align?: "start" | "end";
  readonly isFixed?: boolean; // cannot be sorted by
  /** Left out on narrow screens. */
  readonly isExtra?: boolean;
  /** Heads the row for screen readers; the first column unless one says so. */
  readonly isHead?: boolean;
}

export interface TableProps<Row> {
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly rowKey: (row: Row) => string;
  /** `-time`: by the column `time`, descending. "" keeps the order of `rows`. */
  readonly sort?: string;
  /** The address' parameter that remembers the order; null for none. */
  readonly sortParameter?: string | null;
  readonly limit?: number;
  /** What stands instead of no rows. */
  readonly empty?: ReactNode;
  readonly isCaptionUnseen?: boolean;
  /** A class for a row: `is-bad`, `is-quiet`. */
  readonly rowClass?: (row: Row) => string;
}

export const ROWS = 100;

export function Table<Row>(props: TableProps<Row>) {
  const { caption, columns, rows, rowKey, limit = ROWS, empty, isCaptionUnseen = true, rowClass } = props;
  const [order, setOrder] = useOrder(props.sort ?? "", props.sortParameter ?? null);
  const [more, setMore] = useState(0);
  const sorted = useMemo(() => sortRows(rows, columns, order), [rows, columns, order]);
  const shown = sorted.slice(0, limit + more);
  const head = columns.find((column) => column.isHead) ?? columns[0];
  if (!rows.length) return <>{empty ?? <Empty title="Nothing to show." />}</>;
  return (
    <div className="table-box">
      <Scroll label={caption}>
        <table>
          <caption className={isCaptionUnseen ? "unseen" : undefined}>{caption}</caption>
          <thead>
            <tr>{columns.map((column) => <Heading key={column.key} column={column} order={order} setOrder={setOrder} />)}</tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <tr key={rowKey(row)} className={rowClass?.(row)}>
                {columns.map((column) => <CellOf key={column.key} column={column} row={row} isHead={column === head} />)}
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      {sorted.length > shown.length && (
        <p className="table-more">
          <Button size="small" onClick={() => setMore(more + limit)}>
            {`Show ${count(Math.min(limit, sorted.length - shown.length))} more of ${count(sorted.length - shown.length)}`}
          </Button>
        </p>
      )}
    </div>
  );
}

/** What is wider than its place is scrolled by keys as well: then, and only then, it is a stop with a name. */
function Scroll({ label, children }: { readonly label: string; readonly children: ReactNode }) {
  const box = useRef<HTMLDivElement>(null);
  const [isCut, setCut] = useState(false);
  useEffect(() => {
    const place = box.current;
    if (!place || typeof ResizeObserver === "undefined") return;
    const sizes = new ResizeObserver(() => setCut(place.scrollWidth > place.clientWidth + 1));
    sizes.observe(place);
    if (place.firstElementChild) sizes.observe(place.firstElementChild);
    return () => sizes.disconnect();
  }, []);
  return <div ref={box} className="table-scroll" {...(isCut ? { tabIndex: 0, role: "region", "aria-label": label } : {})}>{children}</div>;
}

function useOrder(preset: string, parameter: string | null): [string, (order: string) => void] {
  const [kept, keep] = useParameter(parameter ?? "sort", preset);
  const [own, setOwn] = useState(preset);
  return parameter === null ? [own, setOwn] : [kept, keep];
}

interface HeadingProps<Row> {
  readonly column: Column<Row>;
  readonly order: string;
  readonly setOrder: (order: string) => void;
}

function Heading<Row>({ column, order, setOrder }: HeadingProps<Row>) {
  const isUp = order === column.key;
  const isDown = order === `-${column.key}`;
  const sorted = isUp ? "ascending" : isDown ? "descending" : undefined;
  const next = isUp || (!isDown && column.align === "end") ? `-${column.key}` : column.key;
  return (
    <th scope="col" className={classOf(column)} aria-sort={sorted}>
      {column.isFixed ? column.title : (
        <button type="button" className="sorter" onClick={() => setOrder(next)}>
          {column.title}
          <span className="sorter-mark" aria-hidden="true">{isUp ? "▲" : isDown ? "▼" : "↕"}</span>
        </button>
      )}
    </th>
  );
}

function CellOf<Row>({ column, row, isHead }: { readonly column: Column<Row>; readonly row: Row; readonly isHead: boolean }) {
  const content = column.cell ? column.cell(row) : column.value(row) ?? "–";
  return isHead
    ? <th scope="row" className={classOf(column)}>{content}</th>
    : <td className={classOf(column)}>{content}</td>;
}

const classOf = <Row,>(column: Column<Row>): string | undefined =>
  [column.align === "end" ? "end" : "", column.isExtra ? "extra" : ""].filter(Boolean).join(" ") || undefined;

/** Rows in the order `key` or `-key`; null is last in both, texts by their natural order. */
export function sortRows<Row>(rows: readonly Row[], columns: readonly Column<Row>[], order: string): readonly Row[] {
  const isDown = order.startsWith("-");
  const column = columns.find((one) => one.key === (isDown ? order.slice(1) : order));
  if (!column) return rows;
  const keyed = rows.map((row) => ({ row, value: column.value(row) }));
  return keyed.sort((a, b) => compare(a.value, b.value, isDown ? -1 : 1)).map(({ row }) => row);
}

const natural = new Intl.Collator("en", { numeric: true });

function compare(a: string | number | null, b: string | number | null, sign: number): number {
  const isMissingA = a === null || Number.isNaN(a);
  const isMissingB = b === null || Number.isNaN(b);
  if (isMissingA || isMissingB) return Number(isMissingA) - Number(isMissingB);
  return sign * (typeof a === "number" && typeof b === "number" ? a - b : natural.compare(String(a), String(b)));
}
