// ml/anomaly.js
import { onMetric, metric } from '@hms-ops/core';

onMetric('finance.api_ms', v => {
  const mean = metric.mean('finance.api_ms', '10m');
  if (v > mean * 2) ops.alertNow('finance.anomaly', { value: v });
});
