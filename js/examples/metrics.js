// finance/metrics.js  (12 lines)
import { ops } from '@hms-ops/client';

export function timed(handler, name) {
  return async (req, res) => {
    const t0 = Date.now();
    await handler(req, res);
    ops.metric('finance.api_ms', Date.now() - t0); // 1️⃣ emit
  };
}
