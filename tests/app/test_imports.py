"""What a running router and the command line must not have loaded."""

import os
import subprocess
import sys

import pytest


def loaded(module):
    code = f"import sys, {module}; print(' '.join(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return set(found.stdout.split())


def test_a_router_loads_nothing_heavy():
    heavy = {"sqlalchemy", "fastapi", "scipy", "numpy", "botocore", "obstore", "starlette"}
    heavy |= {"prometheus_client"}
    assert not heavy & loaded("gnomon.app.router")


def test_the_command_line_loads_nothing_heavy():
    heavy = {"sqlalchemy", "fastapi", "numpy", "botocore", "obstore", "rich", "httpx", "uvloop"}
    assert not heavy & loaded("gnomon.app.main")


@pytest.mark.slow
def test_help_answers_in_under_300_ms():
    # CPU time, the best of several: the machine may be busy, the command is not.
    def once():
        began = sum(os.times()[2:4])
        subprocess.run(
            [sys.executable, "-m", "gnomon.app.main", "--help"], check=True, capture_output=True
        )
        return sum(os.times()[2:4]) - began

    assert min(once() for _ in range(7)) < 0.3
