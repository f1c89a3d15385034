"""Model archives as control has them: from the object store by a model's role, or from disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gnomon.errors import (
    GnomonError,
    ModelDataDenied,
    ModelDataNotKept,
    ModelDataUnavailable,
    ValidationFailed,
)
from gnomon.hosting import artifacts
from gnomon.hosting.volumes import NoRoomInMemory, Volumes
from gnomon.model.layout import Layout
from gnomon.objects.roles import Roles, RoleUnusable
from gnomon.objects.store import ObjectDenied
from gnomon.settings import Settings


class Archives:
    """A role is the ARN that a model names, empty if it names none."""

    def __init__(self, settings: Settings, layout: Layout, roles: Roles, volumes: Volumes) -> None:
        self._settings = settings
        self._layout = layout
        self._roles = roles
        self._volumes = volumes

    async def prepare(self, url: str | None, role_arn: str, in_memory_of: str | None) -> Path:
        """The unpacked model directory; an empty one for a model without an archive. It is in
        memory, and that instance's own, if one is named.
        """
        if url is None:
            empty = self._layout.models / "none" / "model"
            empty.mkdir(parents=True, exist_ok=True)
            return empty
        if in_memory_of is not None:
            return await self._prepare_in_memory(url, role_arn, in_memory_of)
        return await self._prepare(url, role_arn, self._layout.models)

    async def _prepare(self, url: str, role_arn: str, root: Path) -> Path:
        async def fetch(of: str, path: Path) -> None:
            try:
                await self._roles.access(role_arn).objects.fetch(of, path)
            except GnomonError as error:
                raise ModelDataUnavailable(of, str(error)) from error

        return await artifacts.prepare(url, fetch, root, self._settings.hosting)

    async def _prepare_in_memory(self, url: str, role_arn: str, instance_id: str) -> Path:
        """Raises NoRoomInMemory: others may have taken what room there was when it was named, and
        what an archive unpacks to shows only now.
        """
        try:
            size_of = self._roles.access(role_arn).objects.size_bytes
            needed_bytes = await artifacts.size_bytes(url, size_of)
        except (GnomonError, OSError):
            # To get it will say what is wrong.
            needed_bytes = 0
        root = await asyncio.to_thread(self._volumes.make, instance_id, needed_bytes)
        try:
            return await self._prepare(url, role_arn, root)
        except ModelDataNotKept as error:
            if not error.is_for_want_of_space:
                raise
            memory = self._settings.hosting.memory_directory
            raise NoRoomInMemory(
                f"What the model data at {url} unpacks to does not fit into {memory}, which is in "
                "memory: free some, enlarge it, or ask for fewer instances."
            ) from error

    async def check(self, url: str | None, role_arn: str) -> None:
        """Raises GnomonError unless the role can be had and there is something at the URL that it
        may read, or there is no URL.
        """
        if role_arn:
            await self._assume(role_arn)
        if url is not None:
            await artifacts.check(url, lambda of: self._exists(of, role_arn))

    async def _assume(self, role_arn: str) -> None:
        try:
            await asyncio.to_thread(self._roles.access(role_arn).prove)
        except RoleUnusable as error:
            raise ValidationFailed(str(error)) from error

    async def _exists(self, url: str, role_arn: str) -> bool:
        access = self._roles.access(role_arn)
        try:
            return await access.objects.exists(url)
        except ObjectDenied as error:
            if not access.role_arn:
                raise
            region = self._settings.objects.region or self._settings.aws.region
            raise ModelDataDenied(url, role_arn, region, error.reason) from error
