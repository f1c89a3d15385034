"""Looks, before anything begins, whether it could: roles, destinations, keys, room in memory.

A role that is not known, a destination that cannot be written, a key that cannot be used and a
storage volume that there is no memory for are refused when they are named, not lost later. It is
done outside any transaction, since a store or a key service takes its time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from gnomon.control.operations.endpoint_specs import capture_role
from gnomon.control.operations.models import model_data_url, role_of
from gnomon.control.transactions import Transactions
from gnomon.errors import ModelDataUnavailable, ValidationFailed
from gnomon.hosting import artifacts
from gnomon.hosting.volumes import NoRoomInMemory, Volumes
from gnomon.objects.keys import KeyService, KeyServiceFailed, KeyUnusable
from gnomon.objects.roles import Access, Roles, RoleUnusable
from gnomon.objects.store import ObjectNotFound, ObjectStore, ObjectStoreFailed
from gnomon.objects.url import ObjectUrlInvalid, join, parse_prefix
from gnomon.store.state.resources import EXPERIMENTS, MODELS

# What is written, and removed again: it can stay where Gnomon may write but not remove.
_PROBE = ".gnomon-can-write-here"
# For a store's or a key service's answer; a client waits for 60 s.
_TIME_LIMIT_S = 20.0

_LOG = structlog.get_logger(__name__)


class Destinations:
    """`roles` have where captures will be written, and the keys for these; `keys` are Gnomon's own,
    of which the storage volumes' are, and `volumes` is where models unpack that have one.
    """

    def __init__(
        self,
        transactions: Transactions,
        roles: Roles,
        keys: KeyService,
        volumes: Volumes,
    ) -> None:
        self._transactions = transactions
        self._roles = roles
        self._keys = keys
        self._volumes = volumes

    async def check(self, operation: str, params: Mapping[str, Any]) -> None:
        """Raises ValidationFailed for the first role, destination or key of a request that cannot
        be used; other operations name none.
        """
        match operation:
            case "CreateInferenceExperiment":
                access = await self._assume(params["RoleArn"])
                if params.get("KmsKey"):
                    await self._check_key("KmsKey", params["KmsKey"], self._keys)
                    await self._check_room("KmsKey", _models_of_test(params))
                await self._check_storage(params.get("DataStorageConfig"), access)
            case "UpdateInferenceExperiment":
                await self._check_update(params)
            case "CreateEndpointConfig":
                if params.get("ExecutionRoleArn"):
                    await self._assume(params["ExecutionRoleArn"])
                if params.get("KmsKeyId"):
                    await self._check_key("KmsKeyId", params["KmsKeyId"], self._keys)
                    await self._check_room("KmsKeyId", _models_of_config(params))
                await self._check_capture(params)

    async def _check_update(self, params: Mapping[str, Any]) -> None:
        storage = params.get("DataStorageConfig")
        if not storage:
            return
        async with self._transactions.looking() as call:
            record = await EXPERIMENTS.find(call.connection, params["Name"])
        # Callers send whole structures back; what stays as it is needs no check.
        if record is not None and storage != record.plan.data_storage:
            await self._check_storage(storage, await self._assume(record.plan.role_arn))

    async def _check_storage(self, storage: Mapping[str, Any] | None, access: Access) -> None:
        if storage:
            key = storage.get("KmsKey")
            await self._check_key("DataStorageConfig.KmsKey", key, access.keys)
            await self._check(storage["Destination"], key, access)

    async def _check_capture(self, params: Mapping[str, Any]) -> None:
        capture = params.get("DataCaptureConfig") or {}
        key = capture.get("KmsKeyId")
        if not key and not capture.get("EnableCapture"):
            return
        name = params["ProductionVariants"][0].get("ModelName")
        async with self._transactions.looking() as call:
            model = await MODELS.find(call.connection, name) if name else None
        if model is None:
            # Its own refusal.
            return
        access = await self._assume(capture_role(params, role_of(model.request)))
        await self._check_key("DataCaptureConfig.KmsKeyId", key, access.keys)
        if capture.get("EnableCapture"):
            await self._check(capture["DestinationS3Uri"], key, access)

    async def _assume(self, role_arn: str) -> Access:
        try:
            access = self._roles.access(role_arn)
            async with asyncio.timeout(_TIME_LIMIT_S):
                await asyncio.to_thread(access.prove)
        except RoleUnusable as error:
            raise ValidationFailed(str(error)) from error
        except TimeoutError as error:
            reason = f"who is asked for it did not answer within {_TIME_LIMIT_S:.0f} s"
            raise ValidationFailed(str(RoleUnusable(role_arn, reason))) from error
        return access

    async def _check(self, destination: str, key: str | None, access: Access) -> None:
        try:
            parse_prefix(destination)
            async with asyncio.timeout(_TIME_LIMIT_S):
                await _write(access.objects, join(destination, _PROBE), key)
        except ObjectUrlInvalid as error:
            raise ValidationFailed(f"The destination cannot be used: {error}") from error
        except (RoleUnusable, ObjectStoreFailed, KeyUnusable, KeyServiceFailed) as error:
            by = f" by the role {access.role_arn}" if access.role_arn else ""
            raise ValidationFailed(
                f"The destination {destination} cannot be written{by}: {error}"
            ) from error
        except TimeoutError as error:
            raise ValidationFailed(
                f"The destination {destination} cannot be written: the object store did not "
                f"answer within {_TIME_LIMIT_S:.0f} s."
            ) from error

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
        if model is None or url is None:
            return 0
        role_arn = role_of(model.request)

        async def size_of(of: str) -> int:
            return await self._roles.access(role_arn).objects.size_bytes(of)

        try:
            return await artifacts.size_bytes(url, size_of)
        except (RoleUnusable, ObjectNotFound, ObjectUrlInvalid, ModelDataUnavailable):
            # No archive, no room: its start will say what is wrong with it.
            return 0

    async def _check_key(self, member: str, key: str | None, keys: KeyService) -> None:
        if not key:
            return
        try:
            async with asyncio.timeout(_TIME_LIMIT_S):
                await asyncio.to_thread(keys.data_key, key, {})
        except (KeyUnusable, KeyServiceFailed) as error:
            raise ValidationFailed(f"{member}: {error}") from error
        except TimeoutError as error:
            raise ValidationFailed(
                f"{member}: the key service did not answer within {_TIME_LIMIT_S:.0f} s."
            ) from error


async def _write(objects: ObjectStore, url: str, key: str | None) -> None:
    if key:
        await objects.put_encrypted(url, b"", key)
    else:
        await objects.put(url, b"")
    with contextlib.suppress(ObjectStoreFailed):
        await objects.delete(url)


def _models_of_config(params: Mapping[str, Any]) -> list[tuple[str, int]]:
    variants = [*params["ProductionVariants"], *(params.get("ShadowProductionVariants") or [])]
    return [
        (item["ModelName"], item.get("InitialInstanceCount") or 0)
        for item in variants
        # Without one it has its own refusal.
        if item.get("ModelName")
    ]


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
