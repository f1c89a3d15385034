"""Every fault that is known has its row, its figures and its test."""

import json
import re
from pathlib import Path

import pytest
from docs.reliability import DOCUMENT, FIGURES, figures, written

from gnomon.testing import reliability
from gnomon.testing.reliability import FAULTS, Fault, Measured, loads, record, recorded

TESTS = Path(__file__).parents[1]
NAMES = {name for name, value in vars(reliability).items() if isinstance(value, Fault)}


@pytest.fixture
def kept():
    return json.loads(FIGURES.read_text())


def test_the_document_is_what_is_written_from_its_figures(kept):
    assert DOCUMENT.read_text() == written(kept), "run scripts/reliability"


def test_the_rows_are_the_faults_that_are_known(kept):
    rows = re.findall(r"^\| ([^|]+) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert rows == ["fault", *(fault.name for fault in FAULTS)]
    assert list(kept["faults"]) == rows[1:]
    assert len(FAULTS) == len(NAMES)


def test_each_fault_is_recorded_by_a_test_that_is_marked():
    marked = [
        text
        for path in TESTS.rglob("test_*.py")
        if path != Path(__file__) and "mark.fault" in (text := path.read_text())
    ]
    for name in NAMES:
        assert any(f"reliability.{name}" in text for text in marked), name


def test_a_fault_that_no_test_has_measured_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("RELIABILITY_DIR", str(tmp_path))
    for fault in FAULTS[1:]:
        record(fault, Measured([1.0]))
    with pytest.raises(ValueError, match=f"no test has measured: {FAULTS[0].name}$"):
        recorded(tmp_path)


def test_figures_are_shown_as_they_were_recorded(tmp_path, monkeypatch):
    load = iter([1.0, 3.0, 8.5, *[2.0] * len(FAULTS)])
    monkeypatch.setattr("os.getloadavg", lambda: (next(load), 0.0, 0.0))
    monkeypatch.setenv("RELIABILITY_DIR", str(tmp_path))
    for fault in FAULTS:
        record(fault, Measured([1.0], 3000, {"503": 2}, {"captured records": (4, 5000)}))
    record(FAULTS[0], Measured([3.0]))
    text = written(figures(recorded(tmp_path), loads(tmp_path)))
    assert "was\n1.0 to 8.5 meanwhile, 2.0 in the median" in text
    document = text.splitlines()
    first, second = (
        line for line in document if line.startswith(tuple(f"| {f.name} |" for f in FAULTS[:2]))
    )
    assert "**2 of 3,000 requests failed** (2 503)." in first
    assert "**4 of 5,000 captured records missing.**" in first
    assert "**2.0 s** (longest of 2: 3.0 s)" in first
    assert "| **1.0 s**: " in second


def test_nothing_is_recorded_unless_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("RELIABILITY_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    record(FAULTS[0], Measured([1.0]))
    assert list(tmp_path.iterdir()) == []
