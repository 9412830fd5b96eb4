/** The pages by group. On narrow screens it is behind a button. */

import { useSession } from "../kit/session";
import { pages, type Group } from "../pages";
import { link, usePage } from "../router";

const GROUPS: readonly Group[] = ["Watch", "Understand", "Engine"];

export function Navigation({ isOpen, onGo }: { readonly isOpen: boolean; readonly onGo: () => void }) {
  const { session } = useSession();
  const page = usePage();
  const here = page === "metric" ? "" : page === "dashboard" ? "dashboards" : page;
  return (
    <nav id="navigation" className={isOpen ? "navigation is-open" : "navigation"} aria-label="Pages">
      {GROUPS.map((group) => (
        <div key={group} className="navigation-group">
          <p id={`navigation-${group}`}>{group}</p>
          <ul aria-labelledby={`navigation-${group}`}>
            {pages.filter((entry) => entry.group === group).map((entry) => (
              <li key={entry.path}>
                <a href={link(entry.path)} aria-current={entry.path === here ? "page" : undefined} onClick={onGo}>{entry.title}</a>
              </li>
            ))}
          </ul>
        </div>
      ))}
      <p className="navigation-foot"><a href="/docs">API documentation</a>{session?.status_page && <a href="/status">Public status page</a>}</p>
    </nav>
  );
}
