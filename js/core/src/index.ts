// Live metrics and alerts of an engine: the store that screens read, and functions that are called with what happens.
export { ops } from "@hms-ops/client";
export { createLive, type Live, type LiveEvent, type LiveOptions, type LiveState, type WatchOptions } from "./live.js";
