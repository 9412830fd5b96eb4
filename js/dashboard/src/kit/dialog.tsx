/**
 * A modal dialog: the browser's own `<dialog>` keeps the focus inside, Escape closes, the focus returns where it was.
 * It stands at the end of the page: a list whose rows change places would take an open dialog in one of them off the top.
 */

import { useEffect, useId, useRef, type ReactNode } from "react";
import { createPortal } from "react-dom";
import { Region } from "./announce";

export interface DialogProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ReactNode;
  /** Buttons at the end; a Close button stands at the top in any case. */
  readonly actions?: ReactNode;
  readonly isWide?: boolean;
}

export function Dialog({ title, onClose, children, actions, isWide = false }: DialogProps) {
  const id = useId();
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = box.current;
    const before = document.activeElement;
    if (dialog && !dialog.open) dialog.showModal();
    dialog?.querySelector<HTMLElement>(".dialog-body :is(input[type=text], textarea)")?.focus(); // else it is on Close
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return createPortal(
    <dialog
      ref={box}
      className={isWide ? "dialog wide" : "dialog"}
      aria-labelledby={id}
      onCancel={(event) => (event.preventDefault(), onClose())}
      onClick={(event) => event.target === box.current && onClose()}
    >
      <div className="dialog-inside">
        <header className="dialog-head">
          <h2 id={id}>{title}</h2>
          <button type="button" className="button quiet small" aria-label="Close" onClick={onClose}>✕</button>
        </header>
        <div className="dialog-body">{children}</div>
        {actions && <footer className="dialog-actions">{actions}</footer>}
        <Region />
      </div>
    </dialog>,
    document.body,
  );
}
