/**
 * Who acts: the person who is signed in, or, where nobody signs in (the engine's own machine), a name that was typed once
 * and is kept for this browser. The engine's audit log has the address in any case.
 */

import { useState } from "react";
import { useSession } from "../../kit/session";

const PLACE = "hms-ops.who";

function remembered(): string {
  try {
    return localStorage.getItem(PLACE) ?? "";
  } catch {
    return ""; // storage is forbidden here
  }
}

function remember(name: string): void {
  try {
    localStorage.setItem(PLACE, name);
  } catch {
    // Asked again next time.
  }
}

/** The name, how to change it, how to keep it once it was used, and whether it has to be asked for. */
export function useWho(): [string, (name: string) => void, () => void, boolean] {
  const { session } = useSession();
  const [typed, setTyped] = useState(remembered);
  if (session?.user) return [session.user, setTyped, () => undefined, false];
  return [typed.trim(), setTyped, () => remember(typed.trim()), true];
}
