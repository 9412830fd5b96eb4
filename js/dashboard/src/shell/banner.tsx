/** What stands across the top when what is shown may not be taken for the present, and what else one has to know. */

import type { ReactNode } from "react";
import { useLiveState } from "@hms-ops/react";
import { skew } from "../kit/clock";
import { Button } from "../kit/form";
import { clockTime, dateTime, span } from "../kit/format";
import { useSession } from "../kit/session";
import { SKEW_TOLD_SECONDS, type Fresh } from "./fresh";
import { setPaused, useFresh } from "./state";

export function Banner() {
  const fresh = useFresh();
  const { second, error } = useLiveState();
  return (
    <div className="banners">
      <FreshBanner fresh={fresh} second={second} reason={error} />
      {fresh.is === "live" && <SkewBanner />}
      <ExpiryBanner />
    </div>
  );
}

interface FreshBannerProps {
  readonly fresh: Fresh;
  readonly second: number | null;
  readonly reason: string | null;
}

/** Not a live region: the shell announces the change once; the age would be read out each second. */
function FreshBanner({ fresh, second, reason }: FreshBannerProps) {
  const at = second === null ? null : clockTime(second);
  if (fresh.is === "lost")
    return (
      <Strip tone="bad" title={fresh.age === null ? "Not connected to the engine." : `No connection to the engine for ${span(Math.floor(fresh.age))}.`}>
        {at ? `Everything below is as it was at ${at} and may have changed since. ` : "There is nothing to show yet. "}
        Trying again by itself{reason ? ` (${reason})` : ""}.
      </Strip>
    );
  if (fresh.is === "late")
    return (
      <Strip tone="bad" title={`The engine has sent nothing for ${span(Math.floor(fresh.age ?? 0))}.`}>
        {`The connection stands, but no new second has come since ${at}. Everything below is old.`}
      </Strip>
    );
  if (fresh.is === "paused")
    return (
      <Strip tone="warn" title={`Paused${at ? ` at ${at}` : ""}.`} action={<Button size="small" onClick={() => setPaused(false)}>Resume</Button>}>
        Live values and charts stand still; alerts are still announced.
      </Strip>
    );
  return null;
}

function SkewBanner() {
  const seconds = skew();
  if (Math.abs(seconds) < SKEW_TOLD_SECONDS) return null;
  const way = seconds > 0 ? "ahead of" : "behind";
  return (
    <Strip tone="plain" title={`This computer’s clock is ${span(Math.abs(seconds))} ${way} the engine’s.`}>
      Ages are counted by the engine’s clock; times of day are the engine’s, in this computer’s time zone.
    </Strip>
  );
}

const EXPIRY_TOLD_SECONDS = 600;

function ExpiryBanner() {
  const { session } = useSession();
  const left = session?.expires ? session.expires - Date.now() / 1000 : Infinity;
  if (left > EXPIRY_TOLD_SECONDS || !session?.expires) return null;
  return <Strip tone="warn" title={`You will be signed out at ${dateTime(session.expires)}.`}>Sign in again to go on.</Strip>;
}

interface StripProps {
  readonly tone: "bad" | "warn" | "plain";
  readonly title: string;
  readonly action?: ReactNode;
  readonly children: ReactNode;
}

function Strip({ tone, title, action, children }: StripProps) {
  return (
    <div className={`banner banner-${tone}`}>
      <p><strong>{title}</strong> {children}</p>
      {action}
    </div>
  );
}
