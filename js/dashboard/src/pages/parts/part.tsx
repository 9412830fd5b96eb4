/** A part of a page that shows one document: while it is read, when it cannot be, and when what is shown is old. */

import type { ReactNode } from "react";
import { Time } from "../../kit/marks";
import { Boundary, ErrorNote, Loading } from "../../kit/notes";
import type { Readable } from "./use";

export interface PartProps<T> {
  readonly answer: Readable<T>;
  /** "The alerts": stands in what is said of it. */
  readonly what: string;
  readonly children: (data: T) => ReactNode;
}

export function Part<T>({ answer, what, children }: PartProps<T>) {
  const { data, error, readAt } = answer;
  const retry = (): void => void answer.reload();
  return (
    <Boundary what={what} resetKey={String(readAt > 0)}>
      {error && <ErrorNote title={`${what} could not be read${data ? " again" : ""}`} error={error} retry={retry} />}
      {error && data && <p className="quiet-text stale">What follows was read <Time at={readAt / 1000} />.</p>}
      {data ? children(data) : !error && <Loading label={`Reading ${what.toLowerCase()}`} />}
    </Boundary>
  );
}
