// alerts/latency.js
import { ops } from '@hms-ops/client';

ops.alert('finance.latency_high', {
  if: 'avg(finance.api_ms) > 200',   // threshold
  for: '3m',                         // duration
  notify: ['sms:+1-555-ONCALL']      // channel
});
