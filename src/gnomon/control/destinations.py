"""Looks, before anything begins, whether it could: destinations, keys, room for what has a key.

A destination that cannot be written, a key that cannot be used and a storage volume that there is
no memory for are refused when they are named, not lost later. It is done outside any transaction,
since a store or a key service takes its time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from gnomon.control.operations.models import model_data_url
from gnomon.control.transactions import Transactions
from gnomon.errors import ModelDataUnavailable, ValidationFailed
from gnomon.hosting import artifacts
from gnomon.hosting.volumes import NoRoomInMemory, Volumes
from gnomon.objects.keys import KeyService, KeyServiceFailed, KeyUnusable
from gnomon.objects.store import ObjectNotFound, ObjectStore, ObjectStoreFailed
from gnomon.objects.url import ObjectUrlInvalid, join, parse_prefix
from gnomon.store.state.resources import EXPERIMENTS, MODELS

# What is written, and removed again: it can stay where Gnomon may write but not remove.
_PROBE = ".gnomon-can-write-here"
# For a store's or a key service's answer; a client waits for 60 s.
_TIME_LIMIT_S = 20.0

_LOG = structlog.get_logger(__name__)


class Destinations:
    """`objects` is where captures will be written, `keys` what knows the keys of requests, and
    `volumes` where models unpack whose storage volume has one.
    """

    def __init__(
        self,
        transactions: Transactions,
        objects: ObjectStore,
        keys: KeyService,
        volumes: Volumes,
    ) -> None:
        self._transactions = transactions
        self._objects = objects
        self._keys = keys
        self._volumes = volumes

    async def check(self, operation: str, params: Mapping[str, Any]) -> None:
        """Raises ValidationFailed for the first destination or key of a request that cannot be
        used; other operations name none.
        """
        match operation:
            case "CreateInferenceExperiment":
                if params.get("KmsKey"):
                    await self._check_key("KmsKey", params["KmsKey"])
                    await self._check_room("KmsKey", _models_of_test(params))
                await self._check_storage(params.get("DataStorageConfig"))
            case "UpdateInferenceExperiment":
                storage = params.get("DataStorageConfig")
                # Callers send whole structures back; what stays as it is needs no check.
                if storage and storage != await self._storage_of(params["Name"]):
                    await self._check_storage(storage)
            case "CreateEndpointConfig":
                if params.get("KmsKeyId"):
                    await self._check_key("KmsKeyId", params["KmsKeyId"])
                    await self._check_room("KmsKeyId", _models_of_config(params))
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

    async def _check_room(self, member: str, models: Iterable[tuple[str, int]]) -> None:
        """Whether so many instances of each model fit into memory: they take more than their
        archives do, but how much is known only when they are unpacked.
        """
        try:
            async with asyncio.timeout(_TIME_LIMIT_S):
                needed = [await self._archive_bytes(name) * count for name, count in models]
            await asyncio.to_thread(self._volumes.check, sum(needed))
        except NoRoomInMemory as error:
            raise ValidationFailed(f"{member}: {error}") from error
        except (ObjectStoreFailed, OSError, TimeoutError) as error:
            # Of the store, not of the room: its start will say what is wrong.
            _LOG.warning("the size of a model is not known", reason=str(error))

    async def _archive_bytes(self, model_name: str) -> int:
        async with self._transactions.looking() as call:
            model = await MODELS.find(call.connection, model_name)
        url = model_data_url(model.request) if model else None
        if url is None:
            return 0
        try:
            return await artifacts.size_bytes(url, self._objects.size_bytes)
        except (ObjectNotFound, ObjectUrlInvalid, ModelDataUnavailable):
            # No archive, no room: its start will say what is wrong with it.
            return 0

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


def _models_of_config(params: Mapping[str, Any]) -> list[tuple[str, int]]:
    variants = [*params["ProductionVariants"], *(params.get("ShadowProductionVariants") or [])]
    return [(item["ModelName"], item.get("InitialInstanceCount") or 0) for item in variants]


def _models_of_test(params: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The shadow's: production's instances are there, and nothing of a test restarts them."""
    production = params["ShadowModeConfig"]["SourceModelVariantName"]
    return [
        (
            item["ModelName"],
            (item["InfrastructureConfig"].get("RealTimeInferenceConfig") or {}).get(
                "InstanceCount", 0
            ),
        )
        for item in params["ModelVariants"]
        if item["VariantName"] != production
    ]
