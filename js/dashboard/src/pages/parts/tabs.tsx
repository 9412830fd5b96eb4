/** The views of a page: links, so that each has its address and opens in a tab of the browser; not the tabs of a form. */

import { link, type Parameters } from "../../router";

export interface View {
  /** "" is the one the page opens with. */
  readonly key: string;
  readonly title: string;
  /** How much is there; null for what is not counted. */
  readonly many?: number | null;
}

export function Views({ page, label, views, at, keep = {} }: { readonly page: string; readonly label: string; readonly views: readonly View[]; readonly at: string; readonly keep?: Parameters }) {
  return (
    <nav className="views" aria-label={label}>
      <ul>
        {views.map((view) => (
          <li key={view.key}>
            <a href={link(page, { ...keep, tab: view.key })} aria-current={view.key === at ? "page" : undefined}>
              {view.title}{view.many == null ? null : <span className="views-many">{view.many}</span>}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}
