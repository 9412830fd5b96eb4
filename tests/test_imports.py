"""The directions of imports, held by reading every module's syntax tree: STYLE, "Where code lives"."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import hms_ops

ROOT = Path(__file__).parent.parent / "src"
MODULES = sorted((ROOT / "hms_ops").rglob("*.py"))
# Edges: what a person or another process starts, and what measures.
CLOCK_EXEMPT = ("hms_ops.cli", "hms_ops.client", "hms_ops.demo", "hms_ops.bench", "hms_ops.kernels.warm")
CLOCK_READS = {
    "time",
    "time_ns",
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
    "thread_time",
    "thread_time_ns",
    "process_time",
    "process_time_ns",
    "clock_gettime",
    "clock_gettime_ns",
    "now",
    "utcnow",
    "today",
}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Every module a file imports at run time, wherever it stands; `if TYPE_CHECKING` is no import."""
    return tuple(imports_in(path, ast.parse(path.read_text())))


def imports_in(path: Path, tree: ast.Module) -> Iterator[str]:
    typed_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typed_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            yield node.module
            # `from hms_ops.kernels import window` imports the module window.
            yield from (f"{node.module}.{alias.name}" for alias in node.names if is_module(node.module, alias.name))


def is_module(package: str, name: str) -> bool:
    place = ROOT.joinpath(*package.split("."), name)
    return place.is_dir() or place.with_suffix(".py").exists() or place.with_suffix(".pyx").exists()


def is_in(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def modules_in(*packages: str) -> list[Path]:
    return [path for path in MODULES if is_in(name_of(path), *packages)]


def importers_of(outsider: str) -> set[str]:
    return {name_of(path) for path in MODULES if any(is_in(module, outsider) for module in imports_of(path))}


def test_there_are_modules_to_look_at() -> None:
    assert {"hms_ops.errors", "hms_ops.kernels.window", "hms_ops.client"} <= set(map(name_of, MODULES))


@pytest.mark.parametrize("path", modules_in("hms_ops.kernels"), ids=name_of)
def test_a_kernel_imports_numpy_and_numba_only(path: Path) -> None:
    allowed: tuple[str, ...] = (
        "numpy",
        "numba",
        "math",
        "typing",
        "collections.abc",
        "hms_ops.kernels",
        "hms_ops.kinds",
        "hms_ops.tiers",
    )
    if name_of(path) in ("hms_ops.kernels", "hms_ops.kernels.warm"):
        # These choose numba's cache directory and fill it, before the first kernel runs.
        allowed += ("os", "sys", "tempfile", "pathlib", "time", "contextlib", "warnings", "importlib", "logging")
    assert [module for module in imports_of(path) if not is_in(module, *allowed)] == []


def test_nothing_but_the_kernels_imports_numba() -> None:
    assert {module for module in importers_of("numba") if not is_in(module, "hms_ops.kernels")} == set()


def test_only_storage_imports_lmdb() -> None:
    assert {module for module in importers_of("lmdb") if not is_in(module, "hms_ops.storage")} == set()


@pytest.mark.parametrize("path", modules_in("hms_ops.client"), ids=name_of)
def test_the_client_imports_nothing_of_the_engine_and_the_standard_library_only(path: Path) -> None:
    foreign = [
        module
        for module in imports_of(path)
        if module.split(".")[0] not in sys.stdlib_module_names and not is_in(module, "hms_ops.client")
    ]
    assert foreign == []


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        (("hms_ops.kernels",), ("hms_ops._ring", "hms_ops.engine")),
        (("hms_ops.collector", "hms_ops.alert", "hms_ops.anomaly", "hms_ops.storage"), ("hms_ops.engine",)),
        (("hms_ops.collector", "hms_ops.alert", "hms_ops.anomaly", "hms_ops.storage"), ("hms_ops.http",)),
        (("hms_ops.alert", "hms_ops.storage", "hms_ops.http", "hms_ops.collector"), ("hms_ops.config",)),
        (("hms_ops.engine", "hms_ops.http", "hms_ops.alert", "hms_ops.storage", "hms_ops.remote"), ("hms_ops.cli",)),
        (("hms_ops.alert", "hms_ops.storage", "hms_ops.collector"), ("hms_ops.remote",)),
        (("hms_ops.remote",), ("hms_ops.engine", "hms_ops.http", "hms_ops.config", "hms_ops.client")),
        # The engine alone may: in a forked child it is a client of its parent.
        (("hms_ops.http", "hms_ops.alert", "hms_ops.storage", "hms_ops.collector"), ("hms_ops.client",)),
    ],
)
def test_imports_point_one_way(lower: tuple[str, ...], higher: tuple[str, ...]) -> None:
    wrong = {
        f"{name_of(path)} imports {module}"
        for path in modules_in(*lower)
        for module in imports_of(path)
        if is_in(module, *higher)
    }
    assert wrong == set()


def clock_reads(tree: ast.AST) -> list[str]:
    """Where a module reads a clock, or takes the name of such a function out of its module."""
    return [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if (
            isinstance(node, ast.Attribute)
            and node.attr in CLOCK_READS
            and ast.unparse(node.value) in ("time", "datetime", "datetime.datetime", "date")
        )
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "time"
            and any(alias.name in (*CLOCK_READS, "*") for alias in node.names)
        )
        or (isinstance(node, ast.Import) and any(alias.name == "time" and alias.asname for alias in node.names))
    ]


def test_only_the_clock_reads_a_clock() -> None:
    wrong = [
        f"{path.name}:{found}"
        for path in MODULES
        if not is_in(name_of(path), "hms_ops.clock", *CLOCK_EXEMPT)
        for found in clock_reads(ast.parse(path.read_text()))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "line",
    [
        "time.thread_time()",
        "time.clock_gettime(time.CLOCK_BOOTTIME)",
        "from time import monotonic_ns",
        "from time import *",
        "import time as t",
        "datetime.datetime.now()",
    ],
)
def test_no_way_to_read_a_clock_is_overlooked(line: str) -> None:
    assert clock_reads(ast.parse(line)) == [f"1: {line.removesuffix('()').partition('(time')[0]}"]


@pytest.mark.parametrize("statement", ["import hms_ops", "import hms_ops.client", "import hms_ops.cli.main"])
def test_importing_loads_neither_numpy_nor_numba(statement: str) -> None:
    code = f"{statement}; import sys; print(sorted({{'numpy', 'numba', 'lmdb', 'msgpack', 'yaml'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_of_the_package_loads() -> None:
    assert {name: getattr(hms_ops, name, None) is not None for name in hms_ops.__all__} == dict.fromkeys(
        hms_ops.__all__, True
    )


def test_a_name_the_package_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'engin'"):
        _ = hms_ops.engin
