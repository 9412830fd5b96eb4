"""The committed dashboard is what its sources build to, and needs nothing that is not in the package."""

import filecmp
import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

JS = Path(__file__).parent.parent / "js"
BUILT = Path(__file__).parent.parent / "src" / "hms_ops" / "http" / "dashboard"
GZIPPED_BYTES_MAX = 120_000  # issue 5's figure

needs_node = pytest.mark.skipif(
    shutil.which("npx") is None or not (JS / "node_modules" / "vite").is_dir(),
    reason="Node or js/node_modules is missing (make .make/js)",
)


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@needs_node
@pytest.mark.slow
def test_the_committed_dashboard_is_what_the_sources_build_to(tmp_path: Path) -> None:
    out = tmp_path / "built"
    environment = {**os.environ, "HMS_OPS_UI_OUT": str(out)}
    done = subprocess.run(
        ["npx", "vite", "build", "dashboard"], cwd=JS, env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert files_below(out) == files_below(BUILT), "run `make ui` and commit what it builds"
    _, different, unread = filecmp.cmpfiles(out, BUILT, files_below(out), shallow=False)
    assert (different, unread) == ([], []), "run `make ui` and commit what it builds"


def test_assets_are_within_their_size() -> None:
    sizes = {
        name: len(gzip.compress((BUILT / name).read_bytes(), 9, mtime=0))
        for name in files_below(BUILT)
        if not name.endswith(".map")
    }
    assert sum(sizes.values()) <= GZIPPED_BYTES_MAX, sizes


def test_the_page_has_no_inline_script_or_style_and_names_no_other_host() -> None:
    page = (BUILT / "index.html").read_text()
    assert not re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", page)
    assert not re.findall(r"<style|\sstyle=|\son[a-z]+=", page)
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", page)
    for name in files_below(BUILT):
        if name.endswith(".css"):
            assert not re.findall(r"url\((?!#)[\"']?(?:https?:)?//", (BUILT / name).read_text()), name
