/** The window's title: how many alerts fire stands first, where a narrow tab still shows it. */

let page = "";
let firing = 0;
let isLost = false;

export function titleOf(name: string, many: number, lost: boolean): string {
  const state = lost ? "(no data) " : many > 0 ? `(${many} firing) ` : "";
  return `${state}${name ? `${name} · ` : ""}HMS-OPS`;
}

function write(): void {
  document.title = titleOf(page, firing, isLost);
}

export function setPageTitle(name: string): void {
  page = name;
  write();
}

export function setFiring(many: number, lost: boolean): void {
  firing = many;
  isLost = lost;
  write();
}
