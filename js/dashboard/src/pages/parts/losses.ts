/**
 * What may be lost outside of the ledger: queues that were full, notifications that were given up, streams that were slow.
 * Read from the text of `GET /metrics` (OpenMetrics), which has every counter of the engine. Pure.
 */

export interface MetricLine {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;
const UNESCAPED: Readonly<Record<string, string>> = { n: "\n" };

/** The lines of an exposition; what is no sample is left out. */
export function metricLines(text: string): readonly MetricLine[] {
  const found: MetricLine[] = [];
  for (const line of text.split("\n")) {
    const parts = line.startsWith("#") ? null : LINE.exec(line);
    const value = parts ? Number(parts[3]) : Number.NaN;
    if (parts && Number.isFinite(value)) found.push({ name: parts[1] ?? "", labels: labelsOf(parts[2] ?? ""), value });
  }
  return found;
}

const labelsOf = (text: string): Record<string, string> =>
  Object.fromEntries([...text.matchAll(LABEL)].map(([, name = "", value = ""]) => [name, value.replace(/\\(.)/g, (_, one: string) => UNESCAPED[one] ?? one)]));

interface Known {
  readonly name: string;
  /** What was lost, as the table's first column. */
  readonly what: string;
  readonly means: string;
}

/** The counters that stand for a loss, in the order in which they hurt. */
const KNOWN: readonly Known[] = [
  { name: "hms_ops_store_seconds_lost", what: "Seconds", means: "The engine stood still so long that seconds were never sealed." },
  { name: "hms_ops_store_overflow_samples", what: "Samples without a series of their own", means: "The limit of series is reached; they are counted in __overflow__. See Cardinality." },
  { name: "hms_ops_store_late_lost", what: "Late samples", means: "They came for seconds that can no longer be written." },
  { name: "hms_ops_store_sketch_samples_lost", what: "Samples in percentiles", means: "Memory for histograms was full (limits.sketch_bytes)." },
  { name: "hms_ops_store_dropped_after_fork", what: "Values of a forked process", means: "A child of the engine's process sent them." },
  { name: "hms_ops_tick_steps_lost", what: "Steps of history", means: "The tick came too late to roll them up." },
  { name: "hms_ops_history_steps_lost", what: "Steps not written", means: "The disk was too slow or refused." },
  { name: "hms_ops_history_patches_lost", what: "Late rows not written", means: "The disk was too slow or refused." },
  { name: "hms_ops_history_sketches_lost", what: "Percentiles not written", means: "The disk was too slow or refused." },
  { name: "hms_ops_history_refused_disk_floor", what: "Steps refused to spare the disk", means: "Free space is below history.disk_free." },
  { name: "hms_ops_history_damaged", what: "Damaged rows", means: "What was read from disk is not what was written." },
  { name: "hms_ops_catalogue_damaged", what: "Damaged names of series", means: "What was read from disk is not what was written." },
  { name: "hms_ops_keeper_lost", what: "Alert transitions", means: "More than 200,000 waited for the disk." },
  { name: "hms_ops_alerts_refused", what: "Alert instances", means: "More alerts than are followed (100,000)." },
  { name: "hms_ops_alerts_instances_refused", what: "Groups of rules", means: "More groups than rules may have." },
  { name: "hms_ops_paging_members_refused", what: "Alerts nobody is told of", means: "More alerts at once than the dispatcher follows." },
  { name: "hms_ops_paging_silences_refused", what: "Silences", means: "More silences than there may be." },
  { name: "hms_ops_notifications_dead", what: "Notifications given up", means: "See the dead letters on the page Deliveries." },
  { name: "hms_ops_notifications_dropped", what: "Notifications dropped", means: "A receiver's queue was full (10,000)." },
  { name: "hms_ops_notifications_dead_letters_expired", what: "Dead letters forgotten", means: "There were more than 1,000." },
  { name: "hms_ops_journal_dropped", what: "Events of the journal", means: "More than 50,000 waited for the disk." },
  { name: "hms_ops_on_metric_dropped", what: "Values for handlers of the program", means: "on_metric was slower than the values came." },
  { name: "hms_ops_on_alert_dropped", what: "Alerts for handlers of the program", means: "on_alert was slower than the alerts came." },
  { name: "hms_ops_slos_seconds_lost", what: "Seconds of service levels", means: "They could not be counted." },
  { name: "hms_ops_slos_groups_refused", what: "Groups of service levels", means: "More than 4,096." },
];

const NAMES = new Map(KNOWN.map((one, at) => [one.name, at]));
const LOSING = /_(lost|dropped|refused|damaged|left_out)(_total)?$/;
// Told by the ledger, in other words, or no loss: requests the server refused, a run an action's cooldown held back.
const ELSEWHERE = /^hms_ops_(datagrams|values|http_refused|actions_refused|store_subscribed_dropped|store_aliases_refused|alerting_)/;

export interface Loss {
  readonly key: string;
  readonly what: string;
  readonly means: string;
  readonly many: number;
}

/** Every counter of a loss, the known ones in words, others by their name; summed over labels. */
export function lossesOf(lines: readonly MetricLine[]): readonly Loss[] {
  const sums = new Map<string, number>();
  for (const { name, value } of lines) {
    const isLoss = NAMES.has(name) || (LOSING.test(name) && !ELSEWHERE.test(name));
    if (isLoss) sums.set(name, (sums.get(name) ?? 0) + value);
  }
  const rank = (name: string): number => NAMES.get(name) ?? KNOWN.length;
  return [...sums]
    .sort(([a], [b]) => rank(a) - rank(b) || a.localeCompare(b))
    .map(([name, many]) => ({ key: name, many, ...wordsOf(name) }));
}

function wordsOf(name: string): { what: string; means: string } {
  const known = KNOWN[NAMES.get(name) ?? -1];
  if (known) return { what: known.what, means: known.means };
  return { what: name.replace(/^hms_ops_/, "").replace(/_total$/, "").replaceAll("_", " "), means: "" };
}
