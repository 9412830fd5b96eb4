/** Buttons and fields. A field's label, hint and error are tied to its input by ids. */

import { useId, type ButtonHTMLAttributes, type InputHTMLAttributes, type ReactNode, type SelectHTMLAttributes } from "react";

export interface ButtonProps extends Omit<ButtonHTMLAttributes<HTMLButtonElement>, "className"> {
  readonly look?: "plain" | "primary" | "quiet" | "danger";
  readonly size?: "normal" | "small";
  /** Under way: says so, and does not act again. It stays focusable. */
  readonly isBusy?: boolean;
}

export function Button({ look = "plain", size = "normal", isBusy = false, onClick, children, ...rest }: ButtonProps) {
  return (
    <button
      type="button"
      {...rest}
      className={`button ${look} ${size}`}
      aria-disabled={isBusy || undefined}
      onClick={isBusy ? (event) => event.preventDefault() : onClick}
    >
      {isBusy ? <>{children}<span aria-hidden="true"> …</span></> : children}
    </button>
  );
}

/** A link that looks like a button. */
export function ButtonLink({ href, look = "plain", size = "normal", children }: { readonly href: string; readonly look?: string; readonly size?: string; readonly children: ReactNode }) {
  return <a className={`button ${look} ${size}`} href={href}>{children}</a>;
}

/** What an input needs to be tied to its label, hint and error. */
export interface Tied {
  readonly id: string;
  readonly "aria-describedby": string | undefined;
  readonly "aria-invalid": true | undefined;
}

export interface FieldProps {
  readonly label: string;
  readonly hint?: ReactNode;
  readonly error?: string | null;
  /** The label is read out but not shown: where a placeholder or the place says it. */
  readonly isLabelUnseen?: boolean;
  readonly children: (tied: Tied) => ReactNode;
}

export function Field({ label, hint, error, isLabelUnseen = false, children }: FieldProps) {
  const id = useId();
  const described = [hint ? `${id}-hint` : "", error ? `${id}-error` : ""].filter(Boolean).join(" ");
  return (
    <div className="field">
      <label htmlFor={id} className={isLabelUnseen ? "unseen" : undefined}>{label}</label>
      {hint && <p className="hint" id={`${id}-hint`}>{hint}</p>}
      {error && <p className="field-error" id={`${id}-error`} role="alert">{error}</p>}
      {children({ id, "aria-describedby": described || undefined, "aria-invalid": error ? true : undefined })}
    </div>
  );
}

type Common = Omit<FieldProps, "children">;
const parts = ({ label, hint, error, isLabelUnseen }: Common): Common => ({
  label,
  ...(hint === undefined ? {} : { hint }),
  ...(error === undefined ? {} : { error }),
  ...(isLabelUnseen === undefined ? {} : { isLabelUnseen }),
});

export interface TextFieldProps extends Common, Omit<InputHTMLAttributes<HTMLInputElement>, "className" | "onChange" | "value" | "id"> {
  readonly value: string;
  readonly onValue: (value: string) => void;
}

export function TextField({ label, hint, error, isLabelUnseen, value, onValue, ...rest }: TextFieldProps) {
  return (
    <Field {...parts({ label, hint, error, isLabelUnseen } as Common)}>
      {(tied) => (
        <input type="text" autoComplete="off" {...rest} {...tied} className="input" value={value} onInput={(event) => onValue(event.currentTarget.value)} />
      )}
    </Field>
  );
}

export interface SelectFieldProps extends Common, Omit<SelectHTMLAttributes<HTMLSelectElement>, "className" | "onChange" | "value" | "id"> {
  readonly value: string;
  readonly onValue: (value: string) => void;
  /** Value and words of each choice. */
  readonly choices: readonly (readonly [string, string])[];
}

export function SelectField({ label, hint, error, isLabelUnseen, value, onValue, choices, ...rest }: SelectFieldProps) {
  return (
    <Field {...parts({ label, hint, error, isLabelUnseen } as Common)}>
      {(tied) => (
        <select {...rest} {...tied} className="input select" value={value} onChange={(event) => onValue(event.currentTarget.value)}>
          {choices.map(([choice, words]) => <option key={choice} value={choice}>{words}</option>)}
        </select>
      )}
    </Field>
  );
}

export function Checkbox({ label, isChecked, onCheck }: { readonly label: string; readonly isChecked: boolean; readonly onCheck: (is: boolean) => void }) {
  return (
    <label className="checkbox">
      <input type="checkbox" checked={isChecked} onChange={(event) => onCheck(event.currentTarget.checked)} />
      <span>{label}</span>
    </label>
  );
}

/** One of a few, side by side: radio buttons that look like a switch. */
export function Choice({ label, value, choices, onValue }: { readonly label: string; readonly value: string; readonly choices: readonly (readonly [string, string])[]; readonly onValue: (value: string) => void }) {
  const name = useId();
  return (
    <fieldset className="choice">
      <legend className="unseen">{label}</legend>
      {choices.map(([choice, words]) => (
        <label key={choice} className={choice === value ? "is-chosen" : undefined}>
          <input type="radio" name={name} value={choice} checked={choice === value} onChange={() => onValue(choice)} />
          <span>{words}</span>
        </label>
      ))}
    </fieldset>
  );
}
