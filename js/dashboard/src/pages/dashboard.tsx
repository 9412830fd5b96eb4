/** One board of one's own: its panels, or its text. */

import { Editor } from "../boards/editor";
import { pathOf, STARTER, type Board, type BoardsAnswer } from "../boards/board";
import { PanelBox } from "../boards/panel";
import { useDocument } from "../kit/document";
import { Button, SelectField } from "../kit/form";
import { Code } from "../kit/marks";
import { Empty, ErrorNote, Loading } from "../kit/notes";
import { Page, Section } from "../kit/page";
import { reload } from "../kit/document";
import { useMay } from "../kit/session";
import { spans } from "../metric/ranges";
import { change, go, useParameter, useRoute } from "../router";
import "../style/boards.css";

export default function Dashboard() {
  const { name = "", edit = "" } = useRoute().parameters;
  const board = useDocument<Board>(name ? pathOf(name) : null, { every: edit ? 0 : 15 });
  const list = useDocument<BoardsAnswer>("/v1/dashboards", { every: 60 });
  const mayEdit = useMay("admin") && list.data?.editable === true;
  if (!name) return <Page title="Dashboard"><Empty title="No dashboard is named."><p><a href="#/dashboards">All dashboards</a></p></Empty></Page>;
  const isMissing = board.error?.status === 404;
  if (edit && mayEdit && (board.data || isMissing)) return <Edit key={name} name={name} board={isMissing ? null : board.data} />;
  return (
    <Page title={board.data?.title || name} actions={board.data && <Actions mayEdit={mayEdit} />}>
      {board.error && <ErrorNote title={isMissing ? `There is no dashboard “${name}”` : "The dashboard could not be read"} error={board.error} retry={() => void board.reload()} />}
      {!board.data && !board.error && <Loading label="Reading the dashboard" />}
      {board.data?.error && <Section title="Its file has a mistake" note="The panels are those of the last text that was right, if there was one."><Code>{board.data.error}</Code></Section>}
      {board.data && !isMissing && <Panels board={board.data} />}
    </Page>
  );
}

function Actions({ mayEdit }: { readonly mayEdit: boolean }) {
  const [range, setRange] = useParameter("range");
  return (
    <>
      <SelectField label="Range" value={range} onValue={(value) => setRange(value, true)} choices={[["", "As written"], ...spans.map((span) => [span.key, span.words] as const)]} />
      {mayEdit && <Button onClick={() => change({ edit: 1 }, true)}>Edit as text</Button>}
    </>
  );
}

function Panels({ board }: { readonly board: Board }) {
  const [range] = useParameter("range");
  const seconds = spans.find((span) => span.key === range)?.seconds ?? null;
  if (!board.panels.length) return <Empty title="This dashboard has no panels." />;
  return (
    <div className={`board columns-${board.columns}`}>
      {board.panels.map((panel, at) => <PanelBox key={`${at} ${panel.kind} ${panel.title}`} panel={panel} range={seconds} columns={board.columns} />)}
    </div>
  );
}

function Edit({ name, board }: { readonly name: string; readonly board: Board | null }) {
  const leave = (): void => (board ? change({ edit: null }) : go("dashboards"));
  const saved = (): void => {
    reload(pathOf(name));
    reload("/v1/dashboards");
    change({ edit: null });
  };
  return (
    <Page title={board ? `Edit ${board.title || name}` : `New dashboard ${name}`} lead={<>Title, columns (1 to 4) and panels, in YAML. Kinds of panels: <Code>chart number light table alerts text</Code></>}>
      <Section title={`${name}.yaml`}><Editor name={name} text={board?.text ?? STARTER} etag={board?.etag ?? null} onSaved={saved} onLeave={leave} /></Section>
    </Page>
  );
}
