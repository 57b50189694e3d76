"""Converse.js, a client that runs in a browser: fetched from the registry of npm, as one archive and by its hash.

It is a dependency of the demo and of tests, not of the package. No Node is needed: the archive has it built.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import sys
import tarfile
import tempfile
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

VERSION = "14.0.0"
URL = f"https://registry.npmjs.org/converse.js/-/converse.js-{VERSION}.tgz"
# As package-lock.json writes it: sha512, in base64.
INTEGRITY = "sha512-LFUg030jDalV47vI/vyVPqYPZfJYXFbubq8v0cFDe2zXNeeGEk3Up0Fj/WTzT6t+6do+cAIToy73eAj7RNDj2Q=="
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minimixproxy"
TIMEOUT = 60.0  # seconds, without anything coming
BUILT = "package/dist/"  # in the archive
NOT_NEEDED = (".map", "/converse.js", "/converse.css", "/website.css", "/website.min.css")  # ends of names


class NotFetched(Exception):
    """Converse.js is neither there nor to be had; the text says why, and what to do."""


def fetch(cache: Path = CACHE, url: str = URL, expected: str = INTEGRITY) -> Path:
    """The folder with what a web server has to give out, fetched if it is not there. Blocks. Raises NotFetched."""
    folder = cache / f"converse.js-{VERSION}"
    if not folder.is_dir():
        archive = _download(url, expected)
        _unpack(archive, folder)
    return folder


def _download(url: str, expected: str) -> bytes:
    try:
        with urlopen(url, timeout=TIMEOUT) as answer:
            archive: bytes = answer.read()
    except (URLError, OSError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise NotFetched(f"Converse.js could not be fetched from {url}: {reason}") from error
    found = integrity(archive)
    if found != expected:
        raise NotFetched(f"What came from {url} is not Converse.js {VERSION}: it has the hash {found}, not {expected}")
    return archive


def integrity(content: bytes) -> str:
    """A hash as npm writes it."""
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def _unpack(archive: bytes, folder: Path) -> None:
    """Put the built files in place, all at once: several processes may want them at the same time."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        made = Path(temporary) / "made"
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            for file in files:
                if file.isfile() and _is_needed(file.name):
                    _write(files, file, made / file.name.removeprefix(BUILT))
        with contextlib.suppress(OSError):  # somebody else was quicker
            made.rename(folder)


def _is_needed(name: str) -> bool:
    return name.startswith(BUILT) and not name.endswith(NOT_NEEDED)


def _write(files: tarfile.TarFile, file: tarfile.TarInfo, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    content = files.extractfile(file)
    assert content is not None  # it is a file
    to.write_bytes(content.read())


if __name__ == "__main__":
    try:
        print(fetch())
    except NotFetched as failure:
        sys.exit(str(failure))
