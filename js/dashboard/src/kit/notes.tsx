/** What stands where content would: nothing yet, loading, went wrong. And an error boundary, so that one part's fault stays its own. */

import { Component, useEffect, useState, type ReactNode } from "react";
import { Refusal } from "./request";
import { announce } from "./announce";
import { Button } from "./form";

export function Empty({ title, children }: { readonly title: string; readonly children?: ReactNode }) {
  return (
    <div className="empty">
      <p className="empty-title">{title}</p>
      {children && <div className="empty-words">{children}</div>}
    </div>
  );
}

export const LOADING_AFTER_MS = 300;

/** Says that it loads only when it takes a while: a flash of it is noise. */
export function Loading({ label = "Loading" }: { readonly label?: string }) {
  const [isLate, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), LOADING_AFTER_MS);
    return () => clearTimeout(timer);
  }, []);
  return <p className="loading" aria-busy="true">{isLate ? `${label}…` : "\u00a0"}</p>;
}

export interface ErrorNoteProps {
  readonly error: unknown;
  /** What could not be done: "The alerts could not be read". */
  readonly title?: string;
  readonly retry?: () => void;
}

/** Said when it appears, and again when it is about something else. */
export function ErrorNote({ error, title, retry }: ErrorNoteProps) {
  const heading = title ?? headingOf(error), words = wordsOf(error);
  useEffect(() => announce(`${heading}: ${words}`), [heading, words]);
  return (
    <div className="error-note" role="group" aria-label="Error">
      <p className="error-title">{heading}</p>
      <p className="error-words">{words}</p>
      {retry && <Button size="small" onClick={retry}>Try again</Button>}
    </div>
  );
}

const HEADINGS: Readonly<Record<number, string>> = {
  0: "The engine cannot be reached",
  401: "You are not signed in",
  403: "You may not see this",
  404: "There is no such thing",
  503: "The engine is busy",
};

const headingOf = (error: unknown): string =>
  (error instanceof Refusal ? HEADINGS[error.status] : undefined) ?? "This did not work";

export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

interface BoundaryProps {
  /** What failed, in the note: "This panel". */
  readonly what: string;
  /** A change of it tries again. */
  readonly resetKey?: string;
  readonly children: ReactNode;
}

interface BoundaryState {
  readonly error: unknown;
  readonly key: string | undefined;
}

export class Boundary extends Component<BoundaryProps, BoundaryState> {
  override state: BoundaryState = { error: null, key: this.props.resetKey };

  static getDerivedStateFromError(error: unknown): Partial<BoundaryState> {
    return { error: error ?? new Error("unknown") };
  }

  static getDerivedStateFromProps(props: BoundaryProps, state: BoundaryState): BoundaryState | null {
    return props.resetKey === state.key ? null : { error: null, key: props.resetKey };
  }

  override componentDidCatch(error: unknown): void {
    console.error(`${this.props.what} failed`, error);
  }

  override render(): ReactNode {
    if (this.state.error === null) return this.props.children;
    const retry = (): void => this.setState({ error: null });
    return <ErrorNote title={`${this.props.what} could not be shown`} error={this.state.error} retry={retry} />;
  }
}
