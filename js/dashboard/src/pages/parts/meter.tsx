/** A bar for a share; its words stand beside it and are what a screen reader says. */

export type MeterTone = "good" | "warn" | "bad" | "waiting";

export function Meter({ share, tone, label, words }: { readonly share: number; readonly tone: MeterTone; readonly label: string; readonly words: string }) {
  const shown = Math.min(1, Math.max(0, Number.isFinite(share) ? share : 0));
  return (
    <div className="meter" role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(shown * 100)} aria-valuetext={words}>
      <span className={`meter-fill tone-${tone}`} style={{ width: `${(shown * 100).toFixed(2)}%` }} />
    </div>
  );
}
