import { Page } from "../kit/page";

export default function Deliveries() {
  return <Page title="Deliveries">This page is being written.</Page>;
}
