"""docs/openacr.yaml and docs/accessibility.md: whole, of the allowed terms, and naming only tests that exist."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
REPORT = ROOT / "docs" / "openacr.yaml"
GUIDE = ROOT / "docs" / "accessibility.md"
TEST = re.compile(r"(tests/test_\w+\.py)::(test_\w+)")
LEVELS = {"supports", "partially-supports", "does-not-support", "not-applicable"}
A = """
1.1.1 1.2.1 1.2.2 1.2.3 1.3.1 1.3.2 1.3.3 1.4.1 1.4.2 2.1.1 2.1.2 2.1.4 2.2.1 2.2.2 2.3.1 2.4.1 2.4.2 2.4.3 2.4.4 2.5.1
2.5.2 2.5.3 2.5.4 3.1.1 3.2.1 3.2.2 3.3.1 3.3.2 4.1.1 4.1.2
"""
AA = """
1.2.4 1.2.5 1.3.4 1.3.5 1.4.3 1.4.4 1.4.5 1.4.10 1.4.11 1.4.12 1.4.13 2.4.5 2.4.6 2.4.7 3.1.2 3.2.3 3.2.4 3.3.3 3.3.4
4.1.3
"""
FUNCTIONAL = "302.1 302.2 302.3 302.4 302.5 302.6 302.7 302.8 302.9"
KEYS = ("title", "product", "author", "catalog", "chapters")
CHAPTERS = {
    "success_criteria_level_a": A,
    "success_criteria_level_aa": AA,
    "functional_performance_criteria": FUNCTIONAL,
}


def report() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(REPORT.read_text())
    return found


@cache
def names_in(path: str) -> frozenset[str]:
    place = ROOT / path
    return frozenset(re.findall(r"^def (test_\w+)\(", place.read_text(), re.M)) if place.exists() else frozenset()


def missing(text: str) -> list[str]:
    return [f"{path}::{name}" for path, name in TEST.findall(text) if name not in names_in(path)]


def problems(document: dict[str, Any]) -> list[str]:
    """What GSA's schema and its catalog 2.4-edition-wcag-2.1-508-en would refuse, and what we ask besides."""
    found = [
        f"{key} is missing" for key in ("title", "product", "author", "catalog", "chapters") if key not in document
    ]
    if found:
        return found
    for name, wanted in CHAPTERS.items():
        criteria = document["chapters"][name]["criteria"]
        numbers = [str(one["num"]) for one in criteria]
        found += [f"{name}: {numbers} are not {wanted}"] if numbers != wanted.split() else []
        found += [problem for one in criteria for problem in problems_of(one)]
    return found


def problems_of(criterion: dict[str, Any]) -> list[str]:
    [component] = criterion["components"]
    adherence = component["adherence"]
    found = []
    if component["name"] != ("none" if criterion["num"] in FUNCTIONAL.split() else "web"):
        found.append(f"{criterion['num']}: {component['name']} is no component")
    if adherence["level"] not in LEVELS:
        found.append(f"{criterion['num']}: {adherence['level']} is no level")
    if len(adherence["notes"]) < 10:
        found.append(f"{criterion['num']}: says nothing")
    return found


def test_the_report_has_every_criterion_once_with_an_allowed_level() -> None:
    assert problems(report()) == []
    assert report()["catalog"] == "2.4-edition-wcag-2.1-508-en"
    assert (len(A.split()), len(AA.split())) == (30, 20)  # of WCAG 2.1


@pytest.mark.parametrize("path", [REPORT, GUIDE], ids=["openacr", "guide"])
def test_each_test_that_a_document_names_exists(path: Path) -> None:
    text = re.sub(r"\s+", " ", path.read_text())
    assert len(TEST.findall(text)) > 15
    assert missing(text) == []


def test_what_is_supported_names_a_test_or_needs_none() -> None:
    """What the product does not have (sound, speech) and the plain order of things need no test."""
    untested = {"302.4", "302.5", "302.6"}
    for chapter in report()["chapters"].values():
        for one in chapter["criteria"]:
            adherence = one["components"][0]["adherence"]
            if adherence["level"] == "supports" and str(one["num"]) not in untested:
                assert TEST.search(adherence["notes"]), one["num"]


def test_the_guide_says_what_the_report_calls_partial() -> None:
    guide = GUIDE.read_text()
    for name in ("success_criteria_level_a", "success_criteria_level_aa"):
        for one in report()["chapters"][name]["criteria"]:
            if one["components"][0]["adherence"]["level"] == "partially-supports":
                assert f"({one['num']})" in guide, one["num"]


def test_the_version_is_the_product_s() -> None:
    from hms_ops import __version__

    assert report()["product"]["version"] == __version__


def test_mistakes_would_be_found() -> None:
    document = report()
    document["chapters"]["success_criteria_level_a"]["criteria"][0]["components"][0]["adherence"]["level"] = "fine"
    document["chapters"]["success_criteria_level_aa"]["criteria"].pop()
    assert len(problems(document)) == 2
    assert missing("tests/test_screens.py::test_nothing_of_this_name") == [
        "tests/test_screens.py::test_nothing_of_this_name"
    ]
