import { Page } from "../kit/page";

export default function Audit() {
  return <Page title="Audit">This page is being written.</Page>;
}
