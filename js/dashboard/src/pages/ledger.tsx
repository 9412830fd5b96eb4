import { Page } from "../kit/page";

export default function Ledger() {
  return <Page title="Ledger">This page is being written.</Page>;
}
