"""Internal ids: ULIDs, which sort by the time they were made (github.com/ulid/spec)."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BYTES = 10


def ulid(at_s: float, random: bytes) -> str:
    """A ULID of 26 characters for the time `at_s` (epoch seconds) and 10 random bytes."""
    if len(random) != _RANDOM_BYTES:
        raise ValueError(f"a ULID takes {_RANDOM_BYTES} random bytes, not {len(random)}")
    value = (round(at_s * 1000) << 80) | int.from_bytes(random, "big")
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))
