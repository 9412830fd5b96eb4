import { Page } from "../kit/page";

export default function Healing() {
  return <Page title="Healing">This page is being written.</Page>;
}
