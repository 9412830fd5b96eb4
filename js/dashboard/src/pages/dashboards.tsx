import { Page } from "../kit/page";

export default function Dashboards() {
  return <Page title="Dashboards">This page is being written.</Page>;
}
