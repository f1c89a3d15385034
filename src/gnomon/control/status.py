"""What runs now, for `gnomon status` and the first page: rows and counts, nothing judged.

What is out of order is left to `gnomon.control.warnings`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.control.mirroring import lately
from gnomon.control.transactions import Transactions
from gnomon.control.warnings import Warnings
from gnomon.errors import ResourceNotFound
from gnomon.hosting import cpu_weight
from gnomon.model.instance_types import size_of
from gnomon.model.lifecycle import LIVE_INSTANCE, UNFINISHED_EXPERIMENT
from gnomon.model.records import EndpointRecord, ExperimentRecord, InstanceRecord
from gnomon.store.database import Database
from gnomon.store.state import routing
from gnomon.store.state.instances import (
    events_of,
    instances_of,
    last_endpoint_named,
    latest_instances,
)
from gnomon.store.state.resources import ENDPOINTS, EXPERIMENTS, Filters

# For how long a failed instance is shown, in seconds: somebody may want to read its log.
FAILURES_SHOWN_S = 3600.0
# How many instances of one endpoint are listed at most, ended ones included.
INSTANCES_LISTED = 200
# How many experiments are listed besides those that have not ended.
EXPERIMENTS_LISTED = 100


@dataclass(frozen=True)
class Machine:
    """What instances share."""

    cores: int
    memory_bytes: int


class Status:
    """Reads both databases; writes nothing.

    `runs_here` tells of an image whether its instances are processes of this machine.
    """

    def __init__(
        self,
        transactions: Transactions,
        warnings: Warnings,
        machine: Machine,
        runs_here: Callable[[str], bool],
        telemetry: Database,
    ) -> None:
        self._transactions = transactions
        self._warnings = warnings
        self._machine = machine
        self._runs_here = runs_here
        self._telemetry = telemetry

    async def now(self) -> dict[str, Any]:
        async with self._transactions.database.reading() as connection:
            endpoints = await ENDPOINTS.all(connection)
            experiments = await EXPERIMENTS.where(connection, status=UNFINISHED_EXPERIMENT)
            latest = await EXPERIMENTS.page(
                connection,
                Filters(),
                "CreationTime",
                descending=True,
                after=None,
                limit=EXPERIMENTS_LISTED,
            )
            instances = await instances_of(
                connection,
                statuses=LIVE_INSTANCE,
                ended_since_s=self._transactions.steady_s() - FAILURES_SHOWN_S,
            )
            routers = await routing.incarnations(connection)
        waiting = await self._warnings.waiting()
        return {
            "warnings": await self._warnings.now(routers, waiting),
            "spool": {"waiting_bytes": waiting.waiting_bytes, "waited_s": waiting.waited_s},
            "light": cpu_weight.in_force(),
            "machine": self._shares(endpoints),
            "endpoints": [
                {
                    "name": endpoint.name,
                    "status": endpoint.status,
                    "configuration": endpoint.desired.config_name,
                    "failure_reason": endpoint.failure_reason,
                    "answers": answers(endpoint, instances),
                }
                for endpoint in endpoints
            ],
            "instances": [
                {
                    "id": instance.id,
                    "endpoint": instance.endpoint_name,
                    "variant": instance.variant_name,
                    "status": instance.status,
                    "reason": instance.reason,
                    "light": instance.light,
                    "address": f"{instance.address.host}:{instance.address.port}"
                    if instance.address
                    else "",
                }
                for instance in instances
                if instance.status != "Stopped"
            ],
            "experiments": [
                {
                    "name": experiment.name,
                    "status": experiment.status,
                    "status_reason": experiment.status_reason,
                    "endpoint": experiment.endpoint_name,
                    "ends_at_s": experiment.plan.ends_at_s,
                    "completed_at_s": experiment.completed_at_s,
                }
                for experiment in _once([*experiments, *(record for _, record in latest)])
            ],
            "shadows": await lately(self._telemetry, endpoints, self._transactions.clock.now_s()),
            "routers": [
                {"id": router.id, "slot": router.slot, "pid": router.pid}
                for router in routers
                if router.dead_since_s is None
            ],
        }

    def _shares(self, endpoints: Sequence[EndpointRecord]) -> dict[str, Any]:
        """The machine, and what the instance types of all that endpoints want add up to."""
        sizes = [
            (variant.count, size_of(variant.instance_type))
            for endpoint in endpoints
            if endpoint.status != "Failed"
            for variant in endpoint.desired.variants
            if self._runs_here(variant.container.image)
        ]
        known = [(count, size) for count, size in sizes if size is not None]
        return {
            "cores": self._machine.cores,
            "memory_bytes": self._machine.memory_bytes,
            "wanted_vcpus": sum(count * size.vcpus for count, size in known),
            "wanted_memory_bytes": sum(count * size.memory_bytes for count, size in known),
            "wanted_gpus": sum(count * size.gpus for count, size in known),
        }

    async def instances(self, endpoint_name: str) -> list[dict[str, Any]]:
        """The last instances of an endpoint, ended ones too, oldest first.

        Of a name whose endpoint is deleted, those that it had. Raises ResourceNotFound if there
        never was one.
        """
        async with self._transactions.database.reading() as connection:
            endpoint = await ENDPOINTS.find(connection, endpoint_name)
            endpoint_id = (
                endpoint.id if endpoint else await last_endpoint_named(connection, endpoint_name)
            )
            if endpoint_id is None:
                raise ResourceNotFound(f'Could not find endpoint "{endpoint_name}".')
            instances = await latest_instances(connection, endpoint_id, INSTANCES_LISTED)
        # People read the machine's clock. In whole seconds: asked again, it says the same.
        ahead_s = round(self._transactions.clock.now_s() - self._transactions.steady_s())
        return [
            {
                "id": instance.id,
                "variant": instance.variant_name,
                "status": instance.status,
                "reason": instance.reason,
                "created_at_s": instance.created_at_s + ahead_s,
                "ended_at_s": None
                if instance.ended_at_s is None
                else instance.ended_at_s + ahead_s,
            }
            for instance in instances
        ]

    async def events(self, limit: int, name: str | None = None) -> list[dict[str, Any]]:
        """The latest transitions, newest first; of everything, or of what has the name."""
        async with self._transactions.database.reading() as connection:
            events = await events_of(connection, limit=limit, name=name)
        return [
            {
                "at_s": event.at_s,
                "kind": event.kind,
                "id": event.object_id,
                "name": event.name,
                "before": event.before,
                "after": event.after,
                "reason": event.reason,
            }
            for event in events
        ]


def _once(experiments: Sequence[ExperimentRecord]) -> list[ExperimentRecord]:
    """Each experiment once, oldest first. Pure."""
    return [record for _, record in sorted({record.id: record for record in experiments}.items())]


def answers(endpoint: EndpointRecord, instances: Sequence[InstanceRecord]) -> bool:
    """Whether every production variant that serves has an instance that is healthy. Pure."""
    if endpoint.serving is None:
        return False
    healthy = {instance.variant_id for instance in instances if instance.status == "InService"}
    return all(variant.id in healthy for variant in endpoint.serving.production)
