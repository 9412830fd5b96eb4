/** The page of a path: loaded when it is first gone to. A part that cannot be loaded is said, with a way to try again. */

import { useEffect, useState, type ComponentType } from "react";
import { Empty, ErrorNote, Loading } from "../kit/notes";
import { Page } from "../kit/page";
import { pageAt, type PageEntry } from "../pages";

export function Outlet({ path }: { readonly path: string }) {
  const entry = pageAt(path);
  return entry ? <Loaded key={entry.path} entry={entry} /> : <NoPage path={path} />;
}

const loaded = new Map<string, ComponentType>();

function Loaded({ entry }: { readonly entry: PageEntry }) {
  const [page, setPage] = useState<ComponentType | null>(() => entry.page ?? loaded.get(entry.path) ?? null);
  const [error, setError] = useState<unknown>(null);
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    if (page) return;
    let isCurrent = true;
    const keep = (found: { default: ComponentType }): void => {
      loaded.set(entry.path, found.default);
      if (isCurrent) setPage(() => found.default);
    };
    entry.load().then(keep, (reason: unknown) => isCurrent && setError(reason));
    return () => void (isCurrent = false);
  }, [entry, page, attempt]);
  if (page) return <Content page={page} />;
  const retry = (): void => (setError(null), setAttempt(attempt + 1));
  return (
    <Page title={entry.title}>
      {error ? <ErrorNote title="The code of this page could not be loaded" error={error} retry={retry} /> : <Loading />}
    </Page>
  );
}

function Content({ page: Inside }: { readonly page: ComponentType }) {
  return <Inside />;
}

function NoPage({ path }: { readonly path: string }) {
  return (
    <Page title="No such page">
      <Empty title={`There is no page “${path}”.`}>
        <p>The address may be misspelt, or from another version. <a href="#/">Go to the overview</a>.</p>
      </Empty>
    </Page>
  );
}
