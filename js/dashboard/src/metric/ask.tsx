/** A box for any expression of the alert language: its answer as a chart, or its mistake at its column. */

import { useMemo, useState, type FormEvent } from "react";
import { MetricChart } from "@hms-ops/react";
import { Button, TextField } from "../kit/form";
import { Code } from "../kit/marks";
import { ErrorNote, wordsOf } from "../kit/notes";
import { Section } from "../kit/page";
import { ask, Refusal } from "../kit/request";
import { usePaused } from "../shell/state";
import { useParameter } from "../router";
import { caret } from "./expressions";
import { useRange } from "./range-picker";

interface Mistake {
  readonly words: string;
  readonly place: readonly [string, string] | null;
  readonly error: unknown;
}

export function Ask({ preset, unit }: { readonly preset: string; readonly unit: string }) {
  const [kept, keep] = useParameter("expr");
  const [text, setText] = useState(kept || preset);
  const [mistake, setMistake] = useState<Mistake | null>(null);
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    try {
      await ask(`/v1/query?expr=${encodeURIComponent(text)}`);
      setMistake(null);
      keep(text, true);
    } catch (error) {
      setMistake(mistakeOf(error, text));
    }
    setBusy(false);
  };
  return (
    <Section title="Ask" note={<>Any expression: <Code>p99(api_ms)</Code>, <Code>rate(errors) / rate(requests)</Code>, <Code>avg(api_ms) GROUP BY agency</Code>. <a href="/docs#language">The language</a>. A window, as in <Code>avg(api_ms, 10m)</Code>, ends with each step of the chart; without one a step is counted by itself.</>}>
      <div className="stack">
        <form className="ask" onSubmit={(event) => void submit(event)}>
          <TextField label="Expression" spellCheck={false} value={text} error={mistake?.place ? mistake.words : null} onValue={setText} />
          <Button type="submit" look="primary" isBusy={isBusy}>Ask</Button>
        </form>
        {mistake?.place && <pre className="caret" aria-hidden="true">{mistake.place.join("\n")}</pre>}
        {mistake && !mistake.place && <ErrorNote title="The engine could not answer" error={mistake.error} />}
        {kept && !mistake && <Answer expr={kept} unit={unit} />}
      </div>
    </Section>
  );
}

function mistakeOf(error: unknown, text: string): Mistake {
  const problem = error instanceof Refusal ? error.problem : null;
  const [line, column] = [problem?.["line"], problem?.["column"]];
  const place = typeof column === "number" ? caret(text, typeof line === "number" ? line : 1, column) : null;
  return { words: wordsOf(error), place, error };
}

function Answer({ expr, unit }: { readonly expr: string; readonly unit: string }) {
  const { seconds, fixed } = useRange();
  const exprs = useMemo(() => [expr], [expr]);
  return <MetricChart title={expr} exprs={exprs} unit={unit} {...(fixed ?? { range: seconds })} every={5} height={200} syncKey="metric" paused={usePaused()} />;
}
