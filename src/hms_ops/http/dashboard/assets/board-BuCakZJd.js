function e(e,t){return t===null||Number.isNaN(t)||e.good_below===null&&e.good_above===null?null:(e.good_below===null||t<e.good_below)&&(e.good_above===null||t>e.good_above)}function t({good_below:e,good_above:t},n){let r=[t===null?``:`above ${n(t)}`,e===null?``:`below ${n(e)}`].filter(Boolean);return r.length?`good ${r.join(` and `)}`:``}var n=e=>/^[a-z0-9][a-z0-9._-]{0,99}$/i.test(e),r=e=>`/v1/dashboards/${encodeURIComponent(e)}`,i=`title: A board of mine
columns: 2
panels:
  - title: What one metric does, live
    metric: engine.tick_ms
    unit: ms
    range: 15m
  - title: What is wrong now
    kind: alerts
  - kind: text
    text: What to do when something is wrong stands in the runbook.
`;function a(e){return e.split(/(https?:\/\/[^\s<>"']+)/).filter(Boolean).map(e=>({text:e,href:/^https?:\/\//.test(e)?e:null}))}export{a,n as i,t as n,r as o,e as r,i as t};