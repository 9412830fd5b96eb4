// hooks/scaleUp.js
import { onAlert } from '@hms-ops/core';
import { ActClient } from '@hms-act/client';   // Chapter 9

onAlert('finance.anomaly', async () => {
  await ActClient.run({
    template: 'infra.scale-db',       // tiny orchestration
    input:    { replicas: 2 }
  });
});
