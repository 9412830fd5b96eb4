import { Page } from "../kit/page";

export default function Alerts() {
  return <Page title="Alerts">This page is being written.</Page>;
}
