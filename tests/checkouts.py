"""Checkouts of other versions, which benchmarks and chaos runs are given."""

from argparse import ArgumentTypeError
from pathlib import Path


def checkout(text: str) -> Path:
    """Return the folder that is named on a command line. Raises `ArgumentTypeError` if no version is there."""
    path = Path(text).absolute()
    if not (path / "minimixproxy" / "__init__.py").is_file():
        raise ArgumentTypeError(f"{path}: no checkout of minimixproxy")
    return path
