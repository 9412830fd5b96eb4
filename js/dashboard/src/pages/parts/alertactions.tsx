/** The buttons of an alert and the dialog that one has opened. */

import { useState } from "react";
import { Button } from "../../kit/form";
import { Acknowledge, EndSilence, Silence, Unacknowledge } from "./alertdialogs";
import type { AlertDoc, SilenceDoc } from "./documents";

type Over = "ack" | "unack" | "silence" | "unsilence" | null;

export interface AlertActionsProps {
  readonly alert: AlertDoc;
  readonly instances: number;
  readonly silences: readonly SilenceDoc[];
}

export function AlertActions({ alert, instances, silences }: AlertActionsProps) {
  const [over, setOver] = useState<Over>(null);
  const silence = silences.find((one) => one.id === alert.silencedBy);
  const close = (): void => setOver(null);
  return (
    <div className="alert-actions" role="group" aria-label={`What to do about ${alert.name}`} tabIndex={-1}>
      {alert.state === "firing" && (alert.acknowledged
        ? <Button size="small" onClick={() => setOver("unack")}>Give back</Button>
        : <Button size="small" look={alert.silencedBy ? "plain" : "primary"} onClick={() => setOver("ack")}>Take it</Button>)}
      {silence
        ? <Button size="small" onClick={() => setOver("unsilence")}>End silence</Button>
        : <Button size="small" onClick={() => setOver("silence")}>Silence</Button>}
      {over === "ack" && <Acknowledge alert={alert} onClose={close} />}
      {over === "unack" && <Unacknowledge alert={alert} onClose={close} />}
      {over === "silence" && <Silence alert={alert} instances={instances} onClose={close} />}
      {over === "unsilence" && silence && <EndSilence silence={silence} onClose={close} />}
    </div>
  );
}
