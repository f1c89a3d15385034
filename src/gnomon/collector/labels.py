"""What labels are kept as where an experiment's pairs are sealed: keyed hashes.

The key is derived from the data key under which the experiment's first pair was sealed; wrapped as
it was in the spool, that is kept beside the pairs. So hashes stay the same for as long as the
experiment runs, and without the KMS key nobody can try out which label one stands for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from gnomon.spool.sealing import FrameOpener
from gnomon.store.database import Database
from gnomon.store.telemetry.queries import label_keys_of

_PURPOSE = b"gnomon labels"
# Two of a thousand labels are the same once in a billion experiments.
_HASH_BYTES = 6

LabelOf = Callable[[str], str]


@dataclass(frozen=True)
class LabelKeys:
    """`hashes` has how labels are hashed, by experiment; `new` the wrapped keys that are still to
    be kept.
    """

    hashes: Mapping[str, LabelOf]
    new: Mapping[str, bytes]


async def label_keys(
    database: Database, wrapped: Mapping[str, bytes], opener: FrameOpener
) -> LabelKeys:
    """For the experiments of which there are sealed pairs, under data keys that are `wrapped`.

    What the key service raises goes on.
    """
    if not wrapped:
        return LabelKeys({}, {})
    async with database.reading() as connection:
        kept = await label_keys_of(connection, wrapped)
    used = {**wrapped, **kept}
    # It may ask a key service.
    hashes = await asyncio.to_thread(
        lambda: {
            id_: hashed_with(opener.derive(key, id_.encode(), _PURPOSE))
            for id_, key in used.items()
        }
    )
    return LabelKeys(hashes, {id_: key for id_, key in wrapped.items() if id_ not in kept})


def hashed_with(key: bytes) -> LabelOf:
    """How labels are hashed under a key."""

    def hashed(label: str) -> str:
        return "#" + blake2b(label.encode(), digest_size=_HASH_BYTES, key=key).hexdigest()

    return hashed
