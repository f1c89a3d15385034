"""Packs the model server (`gnomon.serving`) into the one file that instances run.

Done when control starts, from the installed package: the file always matches this version of
Gnomon, while instances that are adopted keep the one they began with, since its name is its
content's.
"""

import hashlib
import io
import os
import tempfile
import zipfile
from importlib.resources import files
from pathlib import Path

# What the package is called in the file: nothing of a model's is likely to have this name.
_PACKAGE = "gnomon_serving"

_MAIN = f"from {_PACKAGE}.main import main\n\nmain()\n"

# The earliest time that a zip file can hold; a fixed one, so that equal content is an equal file.
_TIME = (1980, 1, 1, 0, 0, 0)


def pack(directory: Path) -> Path:
    """The packed model server in `directory`, written if it is not there yet."""
    content = _zip(_sources())
    path = directory / f"{_PACKAGE}-{hashlib.sha256(content).hexdigest()[:16]}.pyz"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        descriptor, fresh = tempfile.mkstemp(dir=directory, prefix=f"{_PACKAGE}-", suffix=".new")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        # mkstemp keeps others out; an instance may run as another user.
        Path(fresh).chmod(0o644)
        Path(fresh).replace(path)
    return path


def _sources() -> dict[str, bytes]:
    # By its path, not by import: nothing of Gnomon imports the model server.
    package = files("gnomon") / "serving"
    sources = {
        f"{_PACKAGE}/{entry.name}": entry.read_bytes()
        for entry in package.iterdir()
        if entry.name.endswith(".py")
    }
    sources["__main__.py"] = _MAIN.encode()
    return sources


def _zip(sources: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(sources):
            archive.writestr(zipfile.ZipInfo(name, _TIME), sources[name])
    return buffer.getvalue()
