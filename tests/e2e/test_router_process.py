"""What a router that has served has loaded."""

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def libraries(pid):
    """Shared libraries in a process's memory; FastAPI's is pydantic_core."""
    return Path(f"/proc/{pid}/maps").read_text()


def test_a_running_router_has_no_database_no_store_and_no_numerics_loaded(echo):
    echo.endpoint()
    echo.model(f"{echo.name}-shad")
    echo.experiment(100)
    echo.invoke("1\n")
    echo.stop()
    running = json.loads((echo.gnomon.data_dir / "gnomon.json").read_text())
    pids = {process["name"]: process["pid"] for process in running["processes"]}
    heavy = ("sqlalchemy", "numpy", "scipy", "obstore", "pydantic_core")
    # Control has most of them: the look would find them.
    assert "sqlalchemy" in libraries(pids["control"])
    assert [name for name in heavy if name in libraries(pids["router 0"])] == []
