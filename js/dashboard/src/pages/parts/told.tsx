/** What strangers have written, on the screen: visible, isolated, cut where it is long, and never anything but text. */

import { Fragment, useState, type ReactNode } from "react";
import { beginning, visible } from "@hms-ops/core";
import { Button } from "../../kit/form";
import { plural } from "../../kit/format";
import { webLink } from "./links";
import { breakable, SHOWN_MAX } from "./plain";
import type { Texts } from "./read";

/** A name or text of somebody else; a long one has a button for the rest. */
export function Told({ children, most = SHOWN_MAX, isCode = false }: { readonly children: string; readonly most?: number; readonly isCode?: boolean }) {
  const [isWhole, setWhole] = useState(false);
  const shown = isWhole ? children : beginning(children, most);
  const rest = children.length - shown.length;
  const text = <Broken>{visible(shown)}</Broken>;
  return (
    <>
      {isCode ? <code className="code" dir="ltr">{text}</code> : <bdi className="name">{text}</bdi>}
      {rest > 0 && <> <Button size="small" look="quiet" onClick={() => setWhole(true)}>{`… ${plural(rest, "more character")}`}</Button></>}
    </>
  );
}

/** The text with the places where a line may break; for who copies it nothing is between. */
function Broken({ children }: { readonly children: string }) {
  const pieces = breakable(children);
  return pieces.length < 2 ? <>{children}</> : <>{pieces.map((piece, place) => <Fragment key={place}>{place > 0 && <wbr />}{piece}</Fragment>)}</>;
}

const TAG_CHARS = 80;
/** Up to here a tag stays on one line. */
const SHORT_CHARS = 30;

/** Tags as name and value, each for itself; the order is always the same. */
export function Tags({ tags, without = [] }: { readonly tags: Texts; readonly without?: readonly string[] }) {
  const names = Object.keys(tags).filter((name) => !without.includes(name)).sort();
  if (!names.length) return null;
  return (
    <ul className="tag-list" aria-label="Tags">
      {names.map((name) => (
        <li key={name} className={name.length + (tags[name] ?? "").length <= SHORT_CHARS ? "is-short" : undefined}><span className="tag-name"><Told most={TAG_CHARS}>{name}</Told></span> <Told most={TAG_CHARS}>{tags[name] ?? ""}</Told></li>
      ))}
    </ul>
  );
}

/** A text that is a web address, whole, becomes a link that says where it leads; anything else stays a text. */
export function Linked({ children }: { readonly children: string }) {
  const found = webLink(children);
  if (!found) return <Told>{children}</Told>;
  return <a href={found.href} rel="noopener noreferrer" target="_blank"><Told>{children.trim()}</Told><span className="unseen"> (opens {found.host} in a new tab)</span></a>;
}

export type Tone = "good" | "warn" | "bad" | "plain" | "waiting";
const SHAPES: Readonly<Record<Tone, string>> = { good: "●", warn: "◆", bad: "▲", plain: "–", waiting: "○" };

/** A sentence with its mark: the shape says it to who sees no colour, the words say it to everybody. */
export function Said({ tone, children }: { readonly tone: Tone; readonly children: ReactNode }) {
  return <span className={`said said-${tone}`}><span className="said-mark" aria-hidden="true">{SHAPES[tone]}</span><span>{children}</span></span>;
}
