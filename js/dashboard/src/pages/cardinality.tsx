import { Page } from "../kit/page";

export default function Cardinality() {
  return <Page title="Cardinality">This page is being written.</Page>;
}
