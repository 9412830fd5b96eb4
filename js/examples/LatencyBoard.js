// LatencyBoard.js  (15 lines)
import { MetricChart, StatusLight } from '@hms-mfe/bricks';
import { useMetric } from '@hms-ops/react';

export default function Board() {
  const latency = useMetric('finance.api_ms');
  const alert   = useMetric('finance.latency_high'); // 0 or 1

  return (
    <>
      <h1>Finance-API Health</h1>
      <MetricChart metric="finance.api_ms" unit="ms" />
      <StatusLight label="Latency OK"
                   ok={alert === 0} />
    </>
  );
}
