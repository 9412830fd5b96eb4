/** The tab's icon by state: files, since the policy allows no data: addresses. Shape and colour differ. */

import bad from "../icons/bad.svg";
import good from "../icons/good.svg";
import lost from "../icons/lost.svg";
import pending from "../icons/pending.svg";
import waiting from "../icons/waiting.svg";

const icons = { good, bad, pending, waiting, lost } as const;

export function showIcon(look: keyof typeof icons): void {
  const element = document.getElementById("icon");
  if (element instanceof HTMLLinkElement && element.getAttribute("href") !== icons[look]) element.href = icons[look];
}
