/** The dialog that shows the keyboard map, and where it can be switched off. */

import { Checkbox } from "../kit/form";
import { Dialog } from "../kit/dialog";
import { setKeysOn, useKeysOn, type Shortcut } from "./keys";

export function Keymap({ shortcuts, onClose }: { readonly shortcuts: readonly Shortcut[]; readonly onClose: () => void }) {
  const isOn = useKeysOn();
  return (
    <Dialog title="Keyboard" onClose={onClose} isWide>
      <Checkbox label="Use keys without Ctrl or Cmd (switch off if they get in the way of your speech or switch input)" isChecked={isOn} onCheck={setKeysOn} />
      <dl className="keymap">
        <Keys keys="Ctrl K" does="Go to anything (Cmd K on a Mac)" />
        {shortcuts.map((shortcut) => <Keys key={shortcut.keys} keys={shortcut.keys} does={shortcut.does} isOff={!isOn} />)}
        <Keys keys="← →" does="In a chart: move along the line and hear its values; Home, End, Page Up, Page Down jump" />
        <Keys keys="Esc" does="Close a dialog, leave the wall" />
      </dl>
    </Dialog>
  );
}

function Keys({ keys, does, isOff = false }: { readonly keys: string; readonly does: string; readonly isOff?: boolean }) {
  return (
    <div className={isOff ? "is-off" : undefined}>
      <dt>{keys.split(" ").map((key) => <kbd key={key}>{key}</kbd>)}</dt>
      <dd>{does}</dd>
    </div>
  );
}
