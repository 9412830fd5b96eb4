/** What one is looking at, in plain words: for who has never seen it, and for who has forgotten. */

import { useLiveState } from "@hms-ops/react";
import { clockTime } from "../kit/format";
import { Light } from "../kit/marks";
import { Facts, Page, Section } from "../kit/page";
import { useSession } from "../kit/session";
import { pages } from "../pages";
import { link } from "../router";

const SCOPES: Readonly<Record<string, string>> = { read: "look at everything", silence: "take and silence alerts", admin: "change rules, dashboards and actions", ingest: "send metrics" };

export default function About() {
  return (
    <Page title="About this page" lead="This is HMS-OPS, mission control: it shows how services of the government are doing, second by second.">
      <Section title="What am I looking at?">
        <div className="prose">
          <p>Services send numbers here: how long a page took, how many forms came in, how full a queue is. Each of these is a <strong>metric</strong>. A metric appears on the <a href="#/">overview</a> by itself as soon as its first number arrives, and its value is new every second.</p>
          <p>People have written <strong>rules</strong>: “the mean time of a write is above 200 ms for three minutes”. While a rule’s condition is met its <strong>alert</strong> is pending, and when it has been met long enough it is firing. Then people are told, and some problems mend themselves by an <strong>action</strong>.</p>
          <p><strong>Detectors</strong> compare a metric with its own past and mark what is unusual as an <strong>anomaly</strong>: the shaded parts of charts.</p>
        </div>
      </Section>
      <Section title="What do the marks mean?" note="Every mark has a shape and a word; none is told by colour alone.">
        <Facts items={[
          ["No rule fires", <Light state="good" word="OK" />],
          ["A condition is met, not yet for long enough", <Light state="warn" word="Pending" />],
          ["Something is wrong", <Light state="bad" word="Firing" />],
          ["Nothing is known yet, or not any more", <Light state="waiting" word="Waiting" />],
        ]} />
      </Section>
      <Section title="Can I trust what I see?">
        <div className="prose">
          <p>The bar at the top says how old the newest second is. As long as it says “Live” everything is at most a few seconds old. When the connection is lost the page says so across its top, with the age of what it shows, and values turn grey. It connects again by itself and fills the gap.</p>
          <p>A value of a metric that has sent nothing for a while bears its age: “12 s old”. Nothing is made up between two numbers: a gap in a line is a gap in what was sent.</p>
          <p>Each number that arrives is accounted for. The <a href="#/ledger">ledger</a> says how many came, how many were turned away and why.</p>
        </div>
      </Section>
      <Section title="Where is what?">
        <dl className="where">
          {pages.filter((page) => page.group).map((page) => <div key={page.path}><dt><a href={link(page.path)}>{page.title}</a></dt><dd>{page.about}</dd></div>)}
        </dl>
      </Section>
      <Section title="By keyboard, by screen reader, on a wall">
        <div className="prose">
          <p>Press <kbd>?</kbd> for all keys, <kbd>Ctrl</kbd> <kbd>K</kbd> to go to anything by name. Every chart can be focused: arrow keys read its values, and “View as table” shows the same as numbers. Alerts that fire or resolve are announced once.</p>
          <p>The filter, the order, the range and which groups are closed stand in the address: copy it, and who opens it sees the same. <a href={link("", { wall: 1 })}>The wall</a> shows the overview and nothing else, for a large screen.</p>
        </div>
      </Section>
      <ThisEngine />
    </Page>
  );
}

function ThisEngine() {
  const { session } = useSession();
  const { second, gaps } = useLiveState();
  return (
    <Section title="This engine">
      <Facts items={[
        ["Host", session?.host || location.host],
        ["Version", session?.version || "not told"],
        ["Newest second", second === null ? "none yet" : clockTime(second)],
        ["Gaps since this page was opened", gaps],
        ["Signed in as", session?.user ?? "nobody: this engine asks for no token"],
        ["You may", (session?.scopes ?? []).map((scope) => SCOPES[scope] ?? scope).join(", ")],
        ["Documentation", <a href="/docs">of the HTTP interface</a>],
        ["For the public", <a href="/status">status page</a>],
      ]} />
    </Section>
  );
}
