"""Where two CSV documents differ, by column: cells are compared as numbers where both are.

Columns are counted from 1 (`column 1`); `rows` and `columns` are differences of shape.
"""

from __future__ import annotations

import csv
import io
from decimal import Decimal, InvalidOperation

from gnomon.stats.differences import Differences

ROWS = "rows"
COLUMNS = "columns"

Rows = list[list[str]]


def parse(body: bytes) -> Rows:
    """Rows of cells, empty lines left out; UnicodeDecodeError, csv.Error."""
    return [row for row in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")) if row]


def find_differences(a: Rows, b: Rows, found: Differences) -> None:
    """Add to `found` where two documents differ."""
    for row_a, row_b in zip(a, b, strict=False):
        if row_a == row_b:
            continue
        if len(row_a) != len(row_b):
            found.add(COLUMNS, abs(len(row_a) - len(row_b)))
        for number, (cell_a, cell_b) in enumerate(zip(row_a, row_b, strict=False), 1):
            if cell_a != cell_b:
                _cells(cell_a.strip(), cell_b.strip(), f"column {number}", found)
    if len(a) != len(b):
        found.add(ROWS, abs(len(a) - len(b)))


def _cells(a: str, b: str, path: str, found: Differences) -> None:
    if a == b:
        return
    number_a, number_b = number_of(a), number_of(b)
    if number_a is None or number_b is None:
        found.add(path)
    elif number_a != number_b or not _is_equal(a, b):
        found.add_numbers(path, number_a, number_b)


def number_of(cell: str) -> float | None:
    """The number in a cell; None for what no CSV writer means as one."""
    try:
        # Python takes 1_000 for a number.
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _is_equal(a: str, b: str) -> bool:
    """Exactly: a float does not hold every digit that a cell may have."""
    try:
        return Decimal(a) == Decimal(b)
    except InvalidOperation:
        return False
