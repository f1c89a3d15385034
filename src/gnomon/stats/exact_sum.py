"""Sums of floats that do not depend on the order in which they are added.

Every finite double is a whole multiple of 2**-1074, so a sum kept as such a multiple, in one
Python integer, is exact; merges are additions of integers.
"""

from __future__ import annotations

from fractions import Fraction

# The smallest positive double is 2**-1074 (IEEE 754, binary64).
_BITS = 1074


class ExactSum:
    """The sum of finite doubles. Owned by whoever adds."""

    __slots__ = ("multiple",)

    def __init__(self, multiple: int = 0) -> None:
        self.multiple = multiple

    def add(self, value: float) -> None:
        """Add a finite double; a longer integer is rounded to one."""
        numerator, denominator = float(value).as_integer_ratio()
        # The denominator is a power of two.
        self.multiple += numerator << (_BITS + 1 - denominator.bit_length())

    def merge(self, other: ExactSum) -> None:
        self.multiple += other.multiple

    @property
    def value(self) -> Fraction:
        """The sum itself."""
        return Fraction(self.multiple, 1 << _BITS)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExactSum) and self.multiple == other.multiple

    __hash__ = None  # type: ignore[assignment]  # it changes

    def to_bytes(self) -> bytes:
        length = self.multiple.bit_length() // 8 + 1
        return self.multiple.to_bytes(length, "big", signed=True)

    @classmethod
    def from_bytes(cls, stored: bytes) -> ExactSum:
        return cls(int.from_bytes(stored, "big", signed=True))
