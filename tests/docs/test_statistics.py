"""docs/statistics.md is what its script writes, but for the simulated figures."""

import re
import runpy
from pathlib import Path

from gnomon.stats import simulate

DOCS = Path(__file__).parents[2] / "docs"


def without_figures(document: str) -> str:
    """The last tables' figures are simulated."""
    head, _, tables = document.partition("## Calibration")
    simulated = re.sub(r"(?<= )\(?[\d.,]+%?\)?(?= \|)", "#", tables)
    return head + simulated


def test_the_document_is_what_the_script_writes():
    drawn = runpy.run_path(str(DOCS / "statistics.py"))["simulated"](2, 4_000, 30)
    assert without_figures((DOCS / "statistics.md").read_text()) == without_figures(drawn), (
        "run python docs/statistics.py"
    )


def test_every_simulated_share_that_is_held_to_the_bound_is_within_it():
    document = (DOCS / "statistics.md").read_text()
    table = document.partition("The sequences:")[2].partition("A t-test")[0]
    shares = [float(share) / 100 for share in re.findall(r"\| ([\d.]+)%", table)]
    assert len(shares) == 11 * 3 + 3 * 2
    assert max(shares) <= simulate.bound(2_000)
