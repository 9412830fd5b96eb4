import { Page } from "../kit/page";

export default function Overview() {
  return <Page title="Overview">This page is being written.</Page>;
}
