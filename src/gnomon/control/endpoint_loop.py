"""Makes endpoints equal to what is desired of them: looks, plans, acts, and tells the routers.

The planning is in `plan_endpoint`; this loop carries it out, one endpoint at a time, whenever
something woke it and every so often besides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from gnomon.control.actions import (
    DrainInstance,
    EndpointAction,
    FailChange,
    RemoveEndpoint,
    Serve,
    Settle,
    StartInstance,
    StopInstance,
)
from gnomon.control.call import Call, create_instance, move_endpoint, move_instance
from gnomon.control.feed import Feed, known_by_all, released
from gnomon.control.keeper import InstanceKeeper
from gnomon.control.plan_endpoint import (
    FAILURE_MEMORY_S,
    Observed,
    lights,
    plan_endpoint,
    route_of,
)
from gnomon.control.transactions import Transactions
from gnomon.model.lifecycle import ENDPOINT, LIVE_INSTANCE
from gnomon.model.records import EndpointRecord, InstanceRecord
from gnomon.model.snapshot import Endpoint
from gnomon.store.state import routing
from gnomon.store.state.instances import get_instance, instances_of, put_instance
from gnomon.store.state.resources import ENDPOINTS

_RESTING = ("InService", "Failed")
_GOING = ("Draining", "Stopping")


class EndpointReconciler:
    """Invariant: every decision and what it changes in the database are one transaction.

    `cores` are the machine's; `has_weight` tells of an image whether its instances run here, where
    they have a CPU weight.
    """

    def __init__(
        self,
        transactions: Transactions,
        keeper: InstanceKeeper,
        feed: Feed,
        *,
        cores: int,
        has_weight: Callable[[str], bool],
    ) -> None:
        self._transactions = transactions
        self._keeper = keeper
        self._feed = feed
        self._cores = cores
        self._has_weight = has_weight

    async def reconcile(self, endpoint_id: str) -> bool:
        """One pass over one endpoint. True if another is due: it acted, or something is awaited."""
        to_begin: list[InstanceRecord] = []
        to_stop: list[str] = []
        async with self._transactions.call() as call:
            endpoint = await ENDPOINTS.get(call.connection, endpoint_id)
            if endpoint is None:
                return False
            since_s = min(endpoint.changing_since_s, call.steady_s - FAILURE_MEMORY_S)
            instances = await instances_of(
                call.connection, endpoint.id, LIVE_INSTANCE, ended_since_s=since_s
            )
            instances = [i for i in instances if i.status != "Stopped"]
            observed = Observed(
                instances,
                await self._released(call, instances),
                await self._routers_know(call, endpoint),
                self._cores,
            )
            actions = plan_endpoint(endpoint, observed, call.steady_s)
            for action in actions:
                if isinstance(action, StopInstance):
                    to_stop.append(action.instance_id)
                elif isinstance(action, StartInstance):
                    to_begin.append(await self._intend(call, action, endpoint))
                else:
                    endpoint = await self._carry_out(call, endpoint, action)
            news = await self._publish(call, endpoint_id, endpoint)
        if news:
            self._feed.announce()
        for record in to_begin:
            self._keeper.begin(record)
        for instance_id in to_stop:
            self._keeper.stop(instance_id, endpoint_id)
        return bool(actions) or (endpoint is not None and _lacks(endpoint, instances))

    async def restless(self, endpoint_ids: Sequence[str]) -> list[str]:
        """Those of the endpoints that `reconcile` would do something about, or look at again.

        It reads them all at once and changes nothing: after a start most of very many rest.
        """
        async with self._transactions.looking() as call:
            since_s = call.steady_s - FAILURE_MEMORY_S
            endpoints = await ENDPOINTS.where(call.connection, id=endpoint_ids)
            found = await instances_of(
                call.connection, endpoint_ids, LIVE_INSTANCE, ended_since_s=since_s
            )
            published = await routing.published_of(call.connection, endpoint_ids)
        of: dict[str, list[InstanceRecord]] = {}
        for instance in found:
            of.setdefault(instance.endpoint_id, []).append(instance)
        return [
            endpoint.id
            for endpoint in endpoints
            if not self._rests(
                endpoint, of.get(endpoint.id, []), published.get(endpoint.id), call.steady_s
            )
        ]

    def _rests(
        self,
        endpoint: EndpointRecord,
        instances: Sequence[InstanceRecord],
        published: Endpoint | None,
        steady_s: float,
    ) -> bool:
        if endpoint.status not in _RESTING or any(i.status in _GOING for i in instances):
            return False
        instances = [i for i in instances if i.status != "Stopped"]
        version = published.version if published else 0
        return (
            not _lacks(endpoint, instances)
            and route_of(endpoint, instances, version) == published
            and not plan_endpoint(
                endpoint, Observed(instances, frozenset(), cores=self._cores), steady_s
            )
        )

    async def _released(self, call: Call, instances: Sequence[InstanceRecord]) -> frozenset[str]:
        draining = [i for i in instances if i.status == "Draining" and i.left_version is not None]
        if not draining:
            return frozenset()
        routers = await routing.incarnations(call.connection)
        return frozenset(
            instance.id
            for instance in draining
            if instance.left_version is not None
            and released(instance.left_version, instance.id, routers, self._feed.report_of)
        )

    async def _routers_know(self, call: Call, endpoint: EndpointRecord) -> bool:
        published = await routing.published(call.connection, endpoint.id)
        return published is not None and known_by_all(
            published.version, await routing.incarnations(call.connection), self._feed.report_of
        )

    async def _intend(
        self, call: Call, action: StartInstance, endpoint: EndpointRecord | None
    ) -> InstanceRecord:
        assert endpoint is not None, "nothing is planned after RemoveEndpoint"
        record = InstanceRecord(
            id=call.new_id(),
            endpoint_id=endpoint.id,
            endpoint_name=endpoint.name,
            variant_id=action.variant.id,
            variant_name=action.variant.name,
            fingerprint=action.variant.fingerprint,
            status="Pending",
            reason="",
            created_at_s=call.steady_s,
            spec=action.variant,
            light=action.light and self._has_weight(action.variant.container.image),
        )
        await create_instance(call, record)
        return record

    async def _carry_out(
        self, call: Call, endpoint: EndpointRecord | None, action: EndpointAction
    ) -> EndpointRecord | None:
        assert endpoint is not None, "nothing is planned after RemoveEndpoint"
        match action:
            case Serve():
                serving = msgspec.structs.replace(
                    endpoint,
                    serving=endpoint.desired,
                    modified_at_s=call.now_s,
                    changing_since_s=call.steady_s,
                )
                await ENDPOINTS.put(call.connection, serving)
                return serving
            case Settle():
                return await move_endpoint(
                    call, endpoint, "InService", "everything desired is healthy"
                )
            case FailChange(reason) if endpoint.serving is None:
                return await move_endpoint(call, endpoint, "Failed", reason, failure_reason=reason)
            case FailChange(reason):
                return await move_endpoint(
                    call,
                    endpoint,
                    "InService",
                    reason,
                    failure_reason=reason,
                    desired=endpoint.serving,
                )
            case DrainInstance(instance_id):
                record = await get_instance(call.connection, instance_id)
                if record is not None:
                    await move_instance(call, record, "Draining", "no longer wanted")
            case RemoveEndpoint():
                await ENDPOINTS.remove(call.connection, endpoint.id)
                await call.record(ENDPOINT, endpoint.id, endpoint.name, "Deleting", "", "")
                return None
        return endpoint

    async def _publish(self, call: Call, endpoint_id: str, endpoint: EndpointRecord | None) -> bool:
        """Publishes the endpoint's route if it changed, and notes what has left it."""
        connection = call.connection
        before = await routing.published(connection, endpoint_id)
        instances = await instances_of(connection, endpoint_id, LIVE_INSTANCE)
        wanted: Endpoint | None = None
        if endpoint is not None:
            version = before.version if before else 0
            wanted = route_of(endpoint, instances, version)
        news = wanted != before
        if news:
            version = await routing.next_version(connection)
            if wanted is not None:
                wanted = msgspec.structs.replace(wanted, version=version)
            await routing.publish(connection, endpoint_id, version, wanted)
        leaving = [i for i in instances if i.status == "Draining" and i.left_version is None]
        if leaving:
            version = await routing.current_version(connection)
            for instance in leaving:
                await put_instance(
                    connection, msgspec.structs.replace(instance, left_version=version)
                )
        return news


def _lacks(endpoint: EndpointRecord, instances: Sequence[InstanceRecord]) -> bool:
    """Whether something waits its turn: a restart, or instances of normal weight in place of light
    ones.
    """
    if endpoint.status == "Failed":
        return False
    if lights(endpoint, instances):
        return True
    healthy = sum(instance.status == "InService" for instance in instances)
    return healthy < sum(variant.count for variant in endpoint.desired.variants)
