/** Why an alert is as it is: its rule in sentences, and each part of the condition with the number it has now. */

import { withUnit } from "../../kit/format";
import { explainPath } from "./alertdata";
import { readExplain, type AlertDoc, type ExplainDoc, type RulePart } from "./documents";
import { Part } from "./part";
import { Tags, Told } from "./told";
import { useRead } from "./use";

export const EXPLAIN_EVERY_SECONDS = 2;

export function Why({ name, tags, expression }: { readonly name: string; readonly tags: AlertDoc["tags"]; readonly expression: string }) {
  const answer = useRead(explainPath(name, tags), readExplain, EXPLAIN_EVERY_SECONDS);
  return <Part answer={answer} what="The reasons">{(doc) => <Reasons doc={doc} tags={tags} expression={expression} />}</Part>;
}

function Reasons({ doc, tags, expression }: { readonly doc: ExplainDoc; readonly tags: AlertDoc["tags"]; readonly expression: string }) {
  if (!doc.parts.length && !doc.words.length)
    return <p className="quiet-text">{expression ? <Told>{expression}</Told> : "This alert has no rule: a program fired it, or an action or detector of the engine."}</p>;
  return (
    <div className="stack">
      {doc.words.length > 0 && <ul className="rule-words">{doc.words.map((sentence) => <li key={sentence}><Told>{sentence}</Told></li>)}</ul>}
      <ul className="rule-parts" aria-label="Parts of the condition with their values now">
        {doc.parts.map((part, place) => <PartRow key={place} part={part} tags={tags} isRecover={part.role === "recover" && doc.parts[place - 1]?.role !== "recover"} />)}
      </ul>
    </div>
  );
}

const DEPTHS = 5;

function PartRow({ part, tags, isRecover }: { readonly part: RulePart; readonly tags: AlertDoc["tags"]; readonly isRecover: boolean }) {
  return (
    <>
      {isRecover && <li className="rule-part-head">To end it:</li>}
      <li className={`rule-part depth-${Math.min(part.depth, DEPTHS)}${isMany(part, tags) ? " is-many" : ""}`}>
        <span className="rule-part-text"><Told isCode>{part.expression}</Told></span>
        <span className="rule-part-now"><Now part={part} tags={tags} /></span>
      </li>
    </>
  );
}

const VALUES_SHOWN = 3;

/** Whether the values are of several instances, each with its tags; then they stand below the expression. */
const isMany = (part: RulePart, tags: AlertDoc["tags"]): boolean => !Object.keys(tags).length && part.values.some((one) => Object.keys(one.tags).length > 0);

function Now({ part, tags }: { readonly part: RulePart; readonly tags: AlertDoc["tags"] }) {
  if (part.problem) return <span className="quiet-text"><Told>{part.problem}</Told></span>;
  if (!part.values.length) return <span className="quiet-text">no data</span>;
  return (
    <>
      {part.values.slice(0, VALUES_SHOWN).map((one, place) => (
        <span key={place} className="rule-part-value">
          {isMany(part, tags) && <Tags tags={one.tags} />}
          {part.isCondition ? <Truth value={one.value} isGood={part.role === "recover"} /> : <strong>{withUnit(one.value, part.unit)}</strong>}
        </span>
      ))}
      {part.count > VALUES_SHOWN && <span className="quiet-text">and {part.count - VALUES_SHOWN} more</span>}
    </>
  );
}

/** What makes an alert fire is bad news when it is true; what ends it is good news. */
function Truth({ value, isGood }: { readonly value: number | null; readonly isGood: boolean }) {
  if (value === null) return <span className="truth">unknown</span>;
  if (!value) return <span className="truth">false</span>;
  return <strong className={isGood ? "truth is-good" : "truth is-bad"}>true</strong>;
}
