import { createRoot } from "react-dom/client";
import { App } from "./shell/app";
import { applyTheme } from "./shell/theme";
import "../../react/src/style.css";
import "./style/tokens.css";
import "./style/base.css";
import "./style/kit.css";
import "./style/shell.css";

applyTheme();
const place = document.getElementById("app");
if (place) {
  place.replaceChildren();
  createRoot(place).render(<App />);
}
