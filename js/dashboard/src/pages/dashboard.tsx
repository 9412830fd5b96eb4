import { Page } from "../kit/page";

export default function Dashboard() {
  return <Page title="Dashboard">This page is being written.</Page>;
}
