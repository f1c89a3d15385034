"""Versions of what took part in a measurement."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Sequence
from importlib.metadata import version

_NUMBER = re.compile(r"\d+(?:\.\d+)+")
_TOOLS = {"nginx": "-v", "wrk": "--version", "h2load": "--version"}


def versions_of(distributions: Sequence[str], tools: Sequence[str]) -> dict[str, str]:
    """Python's version, those of installed distributions, and those of commands."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in distributions},
        **{name: _tool_version(name) for name in tools},
    }


def _tool_version(name: str) -> str:
    # Some write it to standard error, and wrk exits with 1.
    done = subprocess.run([name, _TOOLS[name]], capture_output=True, text=True, check=False)
    found = _NUMBER.search(done.stdout + done.stderr)
    return found[0] if found else "unknown"
