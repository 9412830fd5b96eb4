import { Page } from "../kit/page";

export default function Slos() {
  return <Page title="Service levels">This page is being written.</Page>;
}
