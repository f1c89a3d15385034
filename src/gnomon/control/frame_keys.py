"""Gives routers the data keys under which they seal the frames of endpoints with a KMS key.

In the database a route names its KMS key alone: data keys are made when routers are told, held in
memory, and reach routers by the feed. Each sealed frame carries its data key wrapped
(`gnomon.spool.sealing`), so that nobody has to keep one.
"""

from __future__ import annotations

import asyncio

import msgspec
import structlog

from gnomon.model.snapshot import Endpoint, FrameKey, Update
from gnomon.objects.keys import KeyService, KeyServiceFailed, KeyUnusable
from gnomon.spool.sealing import CONTEXT

# Routers wait for what they are told meanwhile, so that a key service may take only so long (s).
_PATIENCE_S = 2.0

_LOG = structlog.get_logger(__name__)


class FrameKeys:
    """One data key for each KMS key, for as long as control lives."""

    def __init__(self, keys: KeyService) -> None:
        self._keys = keys
        self._making: dict[str, asyncio.Task[FrameKey | None]] = {}

    async def told(self, update: Update) -> Update:
        """The update as routers are told it. Where a key cannot be had an endpoint goes without:
        it is served, and its router drops and counts what it may not keep in clear.
        """
        if not any(endpoint.kms_key for endpoint in update.endpoints):
            return update
        endpoints = [await self._with_key(endpoint) for endpoint in update.endpoints]
        return msgspec.structs.replace(update, endpoints=tuple(endpoints))

    async def _with_key(self, endpoint: Endpoint) -> Endpoint:
        kms_key = endpoint.kms_key
        if not kms_key:
            return endpoint
        making = self._making.get(kms_key)
        if making is None or (making.done() and making.result() is None):
            making = self._making[kms_key] = asyncio.create_task(self._make(kms_key))
        done, _ = await asyncio.wait({making}, timeout=_PATIENCE_S)
        frame_key = making.result() if done else None
        if frame_key is None:
            _LOG.warning("records are dropped for want of their key", endpoint=endpoint.name)
        return msgspec.structs.replace(endpoint, frame_key=frame_key)

    async def _make(self, kms_key: str) -> FrameKey | None:
        try:
            made = await asyncio.to_thread(self._keys.data_key, kms_key, CONTEXT)
        except (KeyUnusable, KeyServiceFailed) as error:
            _LOG.warning("a key of a storage volume cannot be used", reason=str(error))
            return None
        return FrameKey(made.wrapped, made.plain)
