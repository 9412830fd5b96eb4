"""`version`."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Final

import click

import hms_ops
from hms_ops.cli.options import json_option, show_json

PACKAGES: Final = ("numpy", "numba", "lmdb", "msgpack", "starlette", "uvicorn")


def package_version(name: str) -> str | None:
    try:
        return version_of(name)
    except PackageNotFoundError:
        return None


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Versions of HMS-OPS and what it runs on.

    \b
    Example:
      hms-ops-engine version --json
    """
    packages = {name: package_version(name) for name in PACKAGES}
    if as_json:
        found = {"version": hms_ops.__version__, "python": platform.python_version(), "machine": platform.machine()}
        show_json({**found, "packages": packages})
        return
    click.echo(f"hms-ops {hms_ops.__version__} on Python {platform.python_version()}, {platform.machine()}")
    click.echo(", ".join(f"{name} {version or 'is not installed'}" for name, version in packages.items()))
