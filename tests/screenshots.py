"""`python tests/screenshots.py`: the README's pictures, docs/images/*.png, of the demo while its story is told."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.browsing import chromium

INTO: Final = Path(__file__).parent.parent / "docs" / "images"
RANGE: Final = "range=5m"
SHOTS: Final = (
    ("overview", "/#/", "light", 1280, 800),
    ("alerts", "/#/alerts", "light", 960, 600),
    ("metric", f"/#/metric?name=db.write_ms&{RANGE}", "dark", 960, 600),
    ("status", "/status", "light", 960, 600),
)


def wait_for_firing(url: str) -> None:
    while True:
        with urlopen(f"{url}/v1/alerts") as answer:
            alerts = json.load(answer)["alerts"]
        if sum(alert["state"] == "firing" for alert in alerts) > 1:
            return
        time.sleep(0.2)


def shoot(browser: Any, url: str, name: str, path: str, scheme: str, width: int, height: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.goto(url + path)
    page.wait_for_selector("main h1")
    time.sleep(1.5)
    page.screenshot(path=str(INTO / f"{name}.png"))
    context.close()


def main() -> None:
    INTO.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "hms_ops", "demo", "--seconds", "90"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo, chromium() as browser:
        assert demo.stdout is not None
        url = next(found[0] for line in demo.stdout if (found := re.search(r"http://[0-9.:]+(?=/)", line)))
        wait_for_firing(url)
        for shot in SHOTS:
            shoot(browser, url, *shot)
        demo.terminate()
        demo.communicate()


if __name__ == "__main__":
    main()
