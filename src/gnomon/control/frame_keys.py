"""Gives routers the data keys under which they seal the frames of endpoints with a KMS key.

In the database a route names its KMS key alone: data keys are made when routers are told, held in
memory, and reach routers by the feed. Each sealed frame carries its data key wrapped
(`gnomon.spool.sealing`), so that nobody has to keep one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

import msgspec
import structlog

from gnomon.model.snapshot import FrameKey, Update
from gnomon.objects.keys import KeyService, KeyServiceFailed, KeyUnusable
from gnomon.spool.sealing import CONTEXT

# Routers wait for what they are told meanwhile, so that a key service may take only so long (s).
_PATIENCE_S = 2.0
# How often (s) a key that could not be had is asked for again: what is captured is lost meanwhile.
LOOK_S = 5.0

_LOG = structlog.get_logger(__name__)


class FrameKeys:
    """One data key for each KMS key, for as long as control lives.

    `tell_anew` has routers told again of all endpoints with one of these KMS keys.
    """

    def __init__(
        self, keys: KeyService, tell_anew: Callable[[Collection[str]], Awaitable[None]]
    ) -> None:
        self._keys = keys
        self._tell_anew = tell_anew
        self._making: dict[str, asyncio.Task[FrameKey | None]] = {}
        # KMS keys for which routers were told of an endpoint without a data key.
        self._missed: set[str] = set()

    async def told(self, update: Update) -> Update:
        """The update as routers are told it. Where a key cannot be had an endpoint goes without:
        it is served, and its router drops and counts what it may not keep in clear, until `look`.
        """
        wanted = {endpoint.kms_key for endpoint in update.endpoints if endpoint.kms_key}
        if not wanted:
            return update
        had = await self._had(wanted)
        missed = wanted - had.keys()
        if missed:
            self._missed |= missed
            _LOG.warning("records are dropped for want of their keys", keys=sorted(missed))
        endpoints = tuple(
            msgspec.structs.replace(endpoint, frame_key=had.get(endpoint.kms_key))
            for endpoint in update.endpoints
        )
        return msgspec.structs.replace(update, endpoints=endpoints)

    async def look(self) -> None:
        """Gives routers the keys that they were told to do without, as soon as they can be had."""
        if self._missed:
            found = (await self._had(self._missed)).keys() & self._missed
            if found:
                await self._tell_anew(found)
                self._missed -= found

    async def _had(self, kms_keys: Collection[str]) -> dict[str, FrameKey]:
        """The data keys of those that can be had now."""
        for kms_key in kms_keys:
            making = self._making.get(kms_key)
            if making is None or (making.done() and making.result() is None):
                self._making[kms_key] = asyncio.create_task(self._make(kms_key))
        asked = {kms_key: self._making[kms_key] for kms_key in kms_keys}
        await asyncio.wait(asked.values(), timeout=_PATIENCE_S)
        made = {kms_key: task.result() for kms_key, task in asked.items() if task.done()}
        return {kms_key: key for kms_key, key in made.items() if key is not None}

    async def _make(self, kms_key: str) -> FrameKey | None:
        try:
            made = await asyncio.to_thread(self._keys.data_key, kms_key, CONTEXT)
        except (KeyUnusable, KeyServiceFailed) as error:
            _LOG.warning("a key of a storage volume cannot be used", reason=str(error))
            return None
        return FrameKey(made.wrapped, made.plain)
