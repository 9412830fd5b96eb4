/** A metric that the engine does not have in memory: silent for long, with what history there is; or never seen, with names like it. */

import type { ReactNode } from "react";
import { useDocument } from "../kit/document";
import { Name } from "../kit/marks";
import { Empty, Loading } from "../kit/notes";
import { link } from "../router";
import { firstQuestion } from "./expressions";

export function Unheard({ name, children }: { readonly name: string; readonly children: ReactNode }) {
  const { data, error } = useDocument(`/v1/query?expr=${encodeURIComponent(firstQuestion(name, "gauge"))}`);
  if (!data && !error) return <Loading label="Looking for its history" />;
  const nearest = error?.problem["nearest"] as readonly string[] | undefined;
  if (nearest) return <Empty title="No metric of this name has been seen."><p><Near names={nearest} /></p></Empty>;
  return (
    <>
      <Empty title="The engine does not know this metric now."><p>It may have been silent for more than an hour; its history, if there is any, is below.</p></Empty>
      {children}
    </>
  );
}

function Near({ names }: { readonly names: readonly string[] }) {
  if (!names.length) return <>All there are stand on <a href="#/">the overview</a>.</>;
  return <>Did you mean {names.map((name, at) => <span key={name}>{at > 0 && ", "}<a href={link("metric", { name })}><Name>{name}</Name></a></span>)}?</>;
}
