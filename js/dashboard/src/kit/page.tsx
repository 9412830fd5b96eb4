/** The frame of a page: one heading, what it is in a sentence, its tools; and the parts below it. */

import { useEffect, useId, type ReactNode } from "react";
import { setPageTitle } from "./title";

export interface PageProps {
  readonly title: string;
  /** One plain sentence: what am I looking at? */
  readonly lead?: ReactNode;
  /** Buttons and links beside the heading. */
  readonly actions?: ReactNode;
  /** The heading is for screen readers only, where the page shows itself. */
  readonly isBare?: boolean;
  readonly children: ReactNode;
}

export function Page({ title, lead, actions, isBare = false, children }: PageProps) {
  useEffect(() => setPageTitle(title), [title]);
  return (
    <div className="page">
      <header className={isBare ? "unseen" : "page-head"}>
        <div className="page-words">
          <h1 id="page-title">{title}</h1>
          {lead && <p className="lead">{lead}</p>}
        </div>
        {actions && <div className="page-actions">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

export interface SectionProps {
  readonly title: string;
  readonly note?: ReactNode;
  readonly actions?: ReactNode;
  /** A surface of its own (default), or only a heading with what follows. */
  readonly isPlain?: boolean;
  readonly children: ReactNode;
}

export function Section({ title, note, actions, isPlain = false, children }: SectionProps) {
  const id = useId();
  return (
    <section className={isPlain ? "section plain" : "section"} aria-labelledby={id}>
      <div className="section-head">
        <div>
          <h2 id={id}>{title}</h2>
          {note && <p className="note">{note}</p>}
        </div>
        {actions && <div className="section-actions">{actions}</div>}
      </div>
      {children}
    </section>
  );
}

/** Controls of one thing, in a row that wraps. */
export function Toolbar({ label, children }: { readonly label: string; readonly children: ReactNode }) {
  return <div className="toolbar" role="group" aria-label={label}>{children}</div>;
}

/** Facts as name and value, in columns that wrap. */
export function Facts({ items }: { readonly items: readonly (readonly [string, ReactNode])[] }) {
  return (
    <dl className="facts">
      {items.map(([name, value]) => (
        <div key={name}><dt>{name}</dt><dd>{value}</dd></div>
      ))}
    </dl>
  );
}
