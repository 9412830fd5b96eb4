/** What an alert's state looks like, everywhere the same. */

import type { LightState } from "./marks";

const LIGHTS: Readonly<Record<string, LightState>> = { firing: "bad", pending: "warn", resolved: "good", inactive: "good" };

export const lightOf = (state: string): LightState => LIGHTS[state] ?? "waiting";
