/** Alerts: what fires or is pending, the rules that are watched, what is silenced; and one alert by itself. */

import { Page } from "../kit/page";
import { useRoute } from "../router";
import { AlertDetail } from "./alerts-detail";
import { AlertList } from "./alerts-list";
import { RuleList } from "./alerts-rules";
import { SilenceList } from "./alerts-silences";
import { tagsOfAddress, useAlertData, type AlertData } from "./parts/alertdata";
import { overall } from "./parts/alertwords";
import { Views } from "./parts/tabs";
import "./parts/pages.css";

export default function Alerts() {
  const data = useAlertData();
  const { parameters } = useRoute();
  const name = parameters["name"];
  if (name) return <AlertDetail key={`${name} ${parameters["tags"] ?? ""}`} name={name} tags={tagsOfAddress(parameters["tags"])} data={data} />;
  return <Overall data={data} tab={parameters["tab"] ?? ""} />;
}

function Overall({ data, tab }: { readonly data: AlertData; readonly tab: string }) {
  const { answer, silences } = data;
  const alerts = answer.data?.alerts;
  const views = [
    { key: "", title: "Alerts", many: alerts?.length ?? null },
    { key: "rules", title: "Rules", many: answer.data?.rules.length ?? null },
    { key: "silences", title: "Silences", many: silences.data?.filter((one) => one.state !== "ended").length ?? null },
  ];
  return (
    <Page title="Alerts" lead={alerts ? overall(alerts, data.rules.size) : "What is firing or pending, why, and who has taken it."}>
      <Views page="alerts" label="Views of alerts" views={views} at={tab} />
      {tab === "rules" ? <RuleList data={data} /> : tab === "silences" ? <SilenceList data={data} /> : <AlertList data={data} />}
    </Page>
  );
}
