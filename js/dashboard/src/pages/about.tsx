import { Page } from "../kit/page";

export default function About() {
  return <Page title="About this page">This page is being written.</Page>;
}
