"""Runs `scripts/bench` as a user does."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
PATIENCE_S = 150
TOOLS = ("nginx", "wrk", "h2load", "taskset", "setpriv")


@pytest.fixture
def bench() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a bench to its end; `stdout` is all that it said."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BENCH, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    return run


@pytest.fixture
def tools() -> None:
    """What benches of the router load it with: `scripts/bench` installs it where it may."""
    if os.geteuid() != 0 and not all(shutil.which(tool) for tool in TOOLS):
        pytest.skip("nginx, wrk and nghttp2-client are not here, and only root can install them")
