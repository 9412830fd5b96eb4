import { Page } from "../kit/page";

export default function Anomalies() {
  return <Page title="Anomalies">This page is being written.</Page>;
}
