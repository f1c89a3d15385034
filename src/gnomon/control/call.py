"""What one operation is handed, and how statuses change: checked, recorded, in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from gnomon.model.arn import Account
from gnomon.model.lifecycle import ENDPOINT, EXPERIMENT, INSTANCE, Lifecycle
from gnomon.model.records import EndpointRecord, EventRecord, ExperimentRecord, InstanceRecord
from gnomon.settings import QuotaSettings
from gnomon.store.state.instances import add_event, add_instance, put_instance
from gnomon.store.state.resources import ENDPOINTS, EXPERIMENTS


@dataclass(frozen=True)
class Call:
    """One transaction of control's: its connection, its time, and what it may need to know.

    `now_s` is the machine's clock, `steady_s` steady time (`gnomon.model.clock`).
    """

    connection: AsyncConnection
    account: Account
    now_s: float
    steady_s: float
    new_id: Callable[[], str]
    quotas: QuotaSettings
    # The transitions so far: logged once they are committed.
    transitions: list[EventRecord] = field(default_factory=list)

    async def record(
        self, lifecycle: Lifecycle, object_id: str, name: str, before: str, after: str, reason: str
    ) -> None:
        """Adds a transition to the events."""
        event = EventRecord(
            id=self.new_id(),
            at_s=self.now_s,
            steady_s=self.steady_s,
            kind=lifecycle.name,
            object_id=object_id,
            name=name,
            before=before,
            after=after,
            reason=reason,
        )
        await add_event(self.connection, event)
        self.transitions.append(event)


Params = Mapping[str, Any]
Operation = Callable[[Call, Params], Awaitable[dict[str, Any]]]


async def create_endpoint(call: Call, record: EndpointRecord) -> None:
    ENDPOINT.check(None, record.status)
    await ENDPOINTS.add(call.connection, record)
    await call.record(ENDPOINT, record.id, record.name, "", record.status, "")


async def move_endpoint(
    call: Call, record: EndpointRecord, status: str, reason: str, **changes: Any
) -> EndpointRecord:
    """Changes an endpoint's status and, with it, further fields."""
    ENDPOINT.check(record.status, status)
    changed = msgspec.structs.replace(record, status=status, modified_at_s=call.now_s, **changes)
    await ENDPOINTS.put(call.connection, changed)
    await call.record(ENDPOINT, record.id, record.name, record.status, status, reason)
    return changed


async def create_experiment(call: Call, record: ExperimentRecord) -> None:
    EXPERIMENT.check(None, record.status)
    await EXPERIMENTS.add(call.connection, record)
    await call.record(EXPERIMENT, record.id, record.name, "", record.status, "")


async def move_experiment(
    call: Call, record: ExperimentRecord, status: str, reason: str | None, **changes: Any
) -> ExperimentRecord:
    """Changes an experiment's status; a None reason leaves its StatusReason as it is."""
    EXPERIMENT.check(record.status, status)
    if reason is not None:
        # AWS's model bounds StatusReason at 1,024 characters.
        changes["status_reason"] = reason[:1024]
    changed = msgspec.structs.replace(record, status=status, modified_at_s=call.now_s, **changes)
    await EXPERIMENTS.put(call.connection, changed)
    await call.record(EXPERIMENT, record.id, record.name, record.status, status, reason or "")
    return changed


async def create_instance(call: Call, record: InstanceRecord) -> None:
    INSTANCE.check(None, record.status)
    await add_instance(call.connection, record)
    await call.record(INSTANCE, record.id, _instance_name(record), "", record.status, "")


async def move_instance(
    call: Call, record: InstanceRecord, status: str, reason: str, **changes: Any
) -> InstanceRecord:
    """Changes an instance's status; one that ends gets its time and keeps its reason."""
    INSTANCE.check(record.status, status)
    if status in {"Failed", "Stopped"}:
        changes["ended_at_s"] = call.steady_s
    changed = msgspec.structs.replace(record, status=status, reason=reason, **changes)
    await put_instance(call.connection, changed)
    await call.record(INSTANCE, record.id, _instance_name(record), record.status, status, reason)
    return changed


def _instance_name(record: InstanceRecord) -> str:
    return f"{record.endpoint_name}/{record.variant_name}"
