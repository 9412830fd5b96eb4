import { Page } from "../kit/page";

export default function Metric() {
  return <Page title="Metric">This page is being written.</Page>;
}
