"""The diagrams of the lifecycles are those that the code runs."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def drawn():
    return runpy.run_path(str(DOCS / "lifecycles.py"))["drawn"]


def test_the_diagrams_are_what_the_tables_draw(drawn):
    document = (DOCS / "architecture.md").read_text()
    assert document == drawn(document), "run python docs/lifecycles.py"


def test_a_changed_diagram_is_seen(drawn):
    document = (DOCS / "architecture.md").read_text()
    changed = document.replace("Running --> Stopping", "Running --> Completed")
    assert changed != document
    assert drawn(changed) == document


def test_a_document_without_a_place_for_a_diagram_is_refused(drawn):
    with pytest.raises(ValueError, match="no place"):
        drawn("nothing")
