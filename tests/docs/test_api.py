"""docs/api.md is what the code's tables draw."""

import runpy
from pathlib import Path

from gnomon.control.api import OPERATIONS
from gnomon.control.operations.differences import DIFFERENCES

DOCS = Path(__file__).parents[2] / "docs"


def test_the_document_is_what_the_tables_draw():
    drawn = runpy.run_path(str(DOCS / "api.py"))["drawn"]()
    assert (DOCS / "api.md").read_text() == drawn, "run python docs/api.py"


def test_every_operation_has_its_section():
    document = (DOCS / "api.md").read_text()
    assert [name for name in OPERATIONS if f"\n### {name}\n" not in document] == []


def test_what_differs_is_said_of_operations_that_are_there():
    assert set(DIFFERENCES) <= set(OPERATIONS)
