/** The boards of one's own: which there are, and a new one. */

import { useState, type FormEvent } from "react";
import { isName, type BoardsAnswer, type BoardSummary } from "../boards/board";
import { useDocument } from "../kit/document";
import { Button, TextField } from "../kit/form";
import { Dialog } from "../kit/dialog";
import { Code, Light, Name } from "../kit/marks";
import { Empty, ErrorNote, Loading } from "../kit/notes";
import { Page, Section } from "../kit/page";
import { useMay } from "../kit/session";
import { Table, type Column } from "../kit/table";
import { go, link } from "../router";

const columns: readonly Column<BoardSummary>[] = [
  { key: "title", title: "Dashboard", value: (board) => board.title, cell: (board) => <a href={link("dashboard", { name: board.name })}><Name>{board.title || board.name}</Name></a> },
  { key: "panels", title: "Panels", value: (board) => board.panels, align: "end" },
  { key: "state", title: "State", value: (board) => board.error ?? "", cell: (board) => (board.error ? <><Light state="bad" word="Has a mistake" /> <Code>{board.error}</Code></> : <Light state="good" word="Fine" />) },
  { key: "source", title: "File", value: (board) => board.source, cell: (board) => <Code>{board.source}</Code>, isExtra: true },
];

export default function Dashboards() {
  const { data, error, loading, reload } = useDocument<BoardsAnswer>("/v1/dashboards", { every: 15 });
  const mayEdit = useMay("admin") && data?.editable === true;
  const [isNew, setNew] = useState(false);
  const start = mayEdit && <Button look="primary" onClick={() => setNew(true)}>New dashboard</Button>;
  return (
    <Page title="Dashboards" lead="Boards of your own: the panels that matter to your team, written as YAML files." actions={start}>
      {error && <ErrorNote title="The dashboards could not be read" error={error} retry={() => void reload()} />}
      {loading && !data && <Loading label="Reading the dashboards" />}
      {data && (
        <Section title="All dashboards">
          <Table caption="Dashboards" columns={columns} rows={data.dashboards} rowKey={(board) => board.name} sort="title" empty={<NoBoards isEditable={data.editable} />} />
        </Section>
      )}
      {isNew && data && <NewBoard taken={data.dashboards.map((board) => board.name)} onClose={() => setNew(false)} />}
    </Page>
  );
}

function NoBoards({ isEditable }: { readonly isEditable: boolean }) {
  return (
    <Empty title="There is no dashboard of your own yet.">
      {isEditable ? <p>Make one here, or put a YAML file into the folder of dashboards.</p> : <p>Name a folder for them in engine.yaml: <Code>dashboards: [dashboards]</Code></p>}
    </Empty>
  );
}

function NewBoard({ taken, onClose }: { readonly taken: readonly string[]; readonly onClose: () => void }) {
  const [name, setName] = useState("");
  const [error, setError] = useState<string | null>(null);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (!isName(name)) return setError("Use letters, digits, dots, dashes and underscores; begin with a letter or digit.");
    if (taken.includes(name)) return setError("There is one of this name already.");
    onClose();
    go("dashboard", { name, edit: 1 });
  };
  return (
    <Dialog title="New dashboard" onClose={onClose}>
      <form className="stack" onSubmit={submit} noValidate>
        <TextField label="Name" hint="Also the name of its file, as in refund-rush" value={name} error={error} onValue={(value) => (setName(value), setError(null))} />
        <p><Button look="primary" type="submit">Write it</Button></p>
      </form>
    </Dialog>
  );
}
