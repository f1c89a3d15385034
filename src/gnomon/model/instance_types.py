"""What an instance type stands for: vCPUs, memory, GPUs, from the table in `instance_types.csv`.

A type is a size here, not a machine: it sets how many threads a model's libraries start, how much
memory an instance may have, and what `gnomon status` adds up.
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from importlib.resources import files

_GIB = 1024**3


@dataclass(frozen=True)
class InstanceSize:
    vcpus: int
    memory_bytes: int
    gpus: int


def size_of(instance_type: str) -> InstanceSize | None:
    """None for a type that SageMaker knows and the table does not: its size is not published."""
    return _table().get(instance_type)


def memory_bytes(instance_type: str) -> int | None:
    """The memory of an instance of this type; None where it is not known."""
    size = size_of(instance_type)
    return None if size is None else size.memory_bytes


def threads(instance_type: str, cores: int) -> int:
    """Threads that a numeric library of an instance may start on a machine of so many cores.

    Its vCPUs, but half the machine at most: production and its shadow run side by side.
    """
    most = max(1, cores // 2)
    size = size_of(instance_type)
    return most if size is None else min(size.vcpus, most)


@functools.cache
def _table() -> dict[str, InstanceSize]:
    text = files("gnomon.model").joinpath("instance_types.csv").read_text()
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {
        row["instance_type"]: InstanceSize(
            vcpus=int(row["vcpus"]),
            memory_bytes=int(float(row["memory_gib"]) * _GIB),
            gpus=int(row["gpus"]),
        )
        for row in rows
    }
