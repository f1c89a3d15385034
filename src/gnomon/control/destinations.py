"""Looks, before anything that captures begins, whether it could: destinations and their keys.

A destination that cannot be written and a key that cannot be used are refused when they are named,
not lost later. It is done outside any transaction, since a store or a key service takes its time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from gnomon.control.transactions import Transactions
from gnomon.errors import ValidationFailed
from gnomon.objects.keys import KeyService, KeyServiceFailed, KeyUnusable
from gnomon.objects.store import ObjectStore, ObjectStoreFailed
from gnomon.objects.url import ObjectUrlInvalid, join, parse_prefix
from gnomon.store.state.resources import EXPERIMENTS

# What is written, and removed again: it can stay where Gnomon may write but not remove.
_PROBE = ".gnomon-can-write-here"
# For a store's or a key service's answer; a client waits for 60 s.
_TIME_LIMIT_S = 20.0


class Destinations:
    """`objects` is where captures will be written, `keys` what knows the keys of requests."""

    def __init__(self, transactions: Transactions, objects: ObjectStore, keys: KeyService) -> None:
        self._transactions = transactions
        self._objects = objects
        self._keys = keys

    async def check(self, operation: str, params: Mapping[str, Any]) -> None:
        """Raises ValidationFailed for the first destination or key of a request that cannot be
        used; other operations name none.
        """
        match operation:
            case "CreateInferenceExperiment":
                await self._check_key("KmsKey", params.get("KmsKey"))
                await self._check_storage(params.get("DataStorageConfig"))
            case "UpdateInferenceExperiment":
                storage = params.get("DataStorageConfig")
                # Callers send whole structures back; what stays as it is needs no check.
                if storage and storage != await self._storage_of(params["Name"]):
                    await self._check_storage(storage)
            case "CreateEndpointConfig":
                await self._check_key("KmsKeyId", params.get("KmsKeyId"))
                capture = params.get("DataCaptureConfig") or {}
                await self._check_key("DataCaptureConfig.KmsKeyId", capture.get("KmsKeyId"))
                if capture.get("EnableCapture"):
                    await self._check(capture["DestinationS3Uri"], capture.get("KmsKeyId"))

    async def _storage_of(self, name: str) -> Mapping[str, Any] | None:
        async with self._transactions.looking() as call:
            record = await EXPERIMENTS.find(call.connection, name)
        return record.plan.data_storage if record else None

    async def _check_storage(self, storage: Mapping[str, Any] | None) -> None:
        if storage:
            await self._check_key("DataStorageConfig.KmsKey", storage.get("KmsKey"))
            await self._check(storage["Destination"], storage.get("KmsKey"))

    async def _check(self, destination: str, key: str | None) -> None:
        try:
            parse_prefix(destination)
            async with asyncio.timeout(_TIME_LIMIT_S):
                await self._write(join(destination, _PROBE), key)
        except ObjectUrlInvalid as error:
            raise ValidationFailed(f"The destination cannot be used: {error}") from error
        except (ObjectStoreFailed, KeyUnusable, KeyServiceFailed) as error:
            raise ValidationFailed(
                f"The destination {destination} cannot be written: {error}"
            ) from error
        except TimeoutError as error:
            raise ValidationFailed(
                f"The destination {destination} cannot be written: the object store did not "
                f"answer within {_TIME_LIMIT_S:.0f} s."
            ) from error

    async def _write(self, url: str, key: str | None) -> None:
        if key:
            await self._objects.put_encrypted(url, b"", key)
        else:
            await self._objects.put(url, b"")
        with contextlib.suppress(ObjectStoreFailed):
            await self._objects.delete(url)

    async def _check_key(self, member: str, key: str | None) -> None:
        if not key:
            return
        try:
            async with asyncio.timeout(_TIME_LIMIT_S):
                await asyncio.to_thread(self._keys.data_key, key, {})
        except (KeyUnusable, KeyServiceFailed) as error:
            raise ValidationFailed(f"{member}: {error}") from error
        except TimeoutError as error:
            raise ValidationFailed(
                f"{member}: the key service did not answer within {_TIME_LIMIT_S:.0f} s."
            ) from error
