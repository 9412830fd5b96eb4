/** The stop switch of all actions, and how they go on: both ask, both say who and why, both stand in the audit log. */

import { useState } from "react";
import { reload } from "../kit/document";
import { TextField } from "../kit/form";
import { ask } from "../kit/request";
import { Act } from "./parts/alertdialogs";
import { useWho } from "./parts/who";

export function Switch({ isStopped, onClose }: { readonly isStopped: boolean; readonly onClose: () => void }) {
  const [who, setWho, keepWho, needsWho] = useWho();
  const [reason, setReason] = useState("");
  const [wasTried, setTried] = useState(false);
  const problem = isStopped || reason.trim() ? null : "Say why, for whoever wonders why nothing heals.";
  const send = async (): Promise<string> => {
    const body = { ...(who ? { who } : {}), ...(isStopped ? {} : { reason: reason.trim() }) };
    const answer = await ask<{ stopped_by: string }>(`/v1/actions/${isStopped ? "resume" : "stop"}`, { method: "POST", body });
    keepWho();
    reload("/v1/actions");
    return answer.stopped_by ? `All actions are stopped by ${answer.stopped_by}.` : "Actions run again.";
  };
  return (
    <Act title={isStopped ? "Resume actions" : "Stop all actions"} doIt={isStopped ? "Resume" : "Stop them all"} isDanger={!isStopped} check={() => (setTried(true), problem)} send={send} onClose={onClose}>
      <p>{isStopped ? "Alerts that fire from now on start their actions again. What was not run meanwhile is not made up for." : "No alert starts an action until somebody resumes, restarts of the engine included. A run that is under way ends by itself. Alerts page as ever."}</p>
      {!isStopped && <TextField label="Why" hint="Required. It stands in the audit log." error={wasTried ? problem : null} value={reason} onValue={setReason} maxLength={1000} required />}
      {needsWho && <TextField label="Your name" hint="Others see it, and the audit log keeps it." value={who} onValue={setWho} maxLength={200} autoComplete="name" />}
    </Act>
  );
}
