// <hms-status>: how a service stands, on a citizen's page.
//
//   <script type="module" src="https://ops.agency.gov/hms-status.js"></script>
//   <hms-status service="refunds"></hms-status>
//
// Attributes: `service` (a name of the status page; without it the whole page), `src` (the engine's origin; where this
// script came from by default), `every` (seconds between two looks, 60, at least 15). It asks for /status.json, sends
// nothing, keeps nothing, and builds its text with textContent only; its style is a constructed sheet, which strict
// policies allow. Colour, shape and words say the same. Own colours: --hms-status-working, -degraded, -out, -unknown.

const HERE = new URL(import.meta.url).origin;
const SHORTEST_SECONDS = 15;
const TIMEOUT_MS = 10_000;
const SVG = "http://www.w3.org/2000/svg";
export const SHAPES = {
  working: "M7 12.5l3.2 3.2L17 9",
  degraded: "M7 12h10",
  out: "M8 8l8 8M16 8l-8 8",
  unknown: "M9.5 9.5a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.9-1.1 1.8M12 16.6v.1",
};
const UNREACHED = { state: "unknown", words: "Not known", label: "Status" };

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
:host{display:inline-flex;align-items:center;gap:.5em;font:inherit;line-height:1.4;max-width:100%}
:host([hidden]){display:none}
svg{width:1.4em;height:1.4em;flex:none}
circle{fill:currentColor}
path{fill:none;stroke:#fff;stroke-width:2.4;stroke-linecap:round;stroke-linejoin:round}
.text{overflow-wrap:anywhere}
.words{font-weight:600}
.working{color:var(--hms-status-working,#0b6b2d)}
.degraded{color:var(--hms-status-degraded,#8a5a00)}
.out{color:var(--hms-status-out,#b50909)}
.unknown{color:var(--hms-status-unknown,#5c5c5c)}
@media (forced-colors:active){circle{fill:CanvasText}path{stroke:Canvas}}
`);

class HmsStatus extends HTMLElement {
  static observedAttributes = ["service", "src", "every"];
  #timer = 0;
  #asked = 0;
  #shown = "";
  #icon = document.createElementNS(SVG, "svg");
  #path = document.createElementNS(SVG, "path");
  #label = document.createElement("span");
  #words = document.createElement("span");

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [STYLE];
    const circle = document.createElementNS(SVG, "circle");
    for (const [name, value] of Object.entries({ cx: 12, cy: 12, r: 10 })) circle.setAttribute(name, value);
    this.#icon.setAttribute("viewBox", "0 0 24 24");
    this.#icon.setAttribute("aria-hidden", "true");
    this.#icon.append(circle, this.#path);
    const text = document.createElement("span");
    text.className = "text";
    text.setAttribute("role", "status"); // a change is read out, once
    text.append(this.#label, ": ", this.#words);
    root.append(this.#icon, text);
  }

  connectedCallback() {
    this.#look();
  }

  disconnectedCallback() {
    clearTimeout(this.#timer);
    this.#asked += 1;
  }

  attributeChangedCallback() {
    if (this.isConnected) this.#look();
  }

  async #look() {
    clearTimeout(this.#timer);
    const asked = ++this.#asked;
    try {
      const answer = await fetch(new URL("/status.json", this.getAttribute("src") || HERE), {
        credentials: "omit",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (!answer.ok) throw new Error(String(answer.status));
      const status = await answer.json();
      if (asked === this.#asked) this.#show(this.#chosen(status));
    } catch {
      if (asked === this.#asked) this.#show(UNREACHED);
    }
    if (asked === this.#asked && this.isConnected) {
      const seconds = Math.max(SHORTEST_SECONDS, Number(this.getAttribute("every")) || 60);
      this.#timer = setTimeout(() => this.#look(), seconds * 1000);
    }
  }

  #chosen(status) {
    const name = this.getAttribute("service");
    if (!name) return { state: status.state, words: status.words, label: status.title };
    return status.services.find((service) => service.name === name) ?? { ...UNREACHED, label: name };
  }

  #show({ state, words, label }) {
    const known = Object.hasOwn(SHAPES, state) ? state : "unknown";
    const shown = JSON.stringify([known, words, label]);
    if (shown === this.#shown) return; // the same again is no news to a screen reader
    this.#shown = shown;
    this.#icon.setAttribute("class", known);
    this.#path.setAttribute("d", SHAPES[known]);
    this.#label.textContent = label;
    this.#words.textContent = words;
    this.#words.className = `words ${known}`;
  }
}

if (!customElements.get("hms-status")) customElements.define("hms-status", HmsStatus);
