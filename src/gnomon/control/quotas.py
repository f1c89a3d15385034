"""Quotas: how many instances of a type, endpoints and experiments there may be at once.

They are settings, none by default. An instance counts by its type from when it is desired; those of
an endpoint that failed, or is being deleted, do not.
"""

from __future__ import annotations

from collections import Counter

from gnomon.control.call import Call
from gnomon.errors import ResourceLimitExceeded
from gnomon.model.lifecycle import UNFINISHED_EXPERIMENT
from gnomon.model.spec import EndpointSpec
from gnomon.store.state.resources import ENDPOINTS, EXPERIMENTS

_USING = ("Creating", "Updating", "InService")


async def check_instances(call: Call, former: EndpointSpec | None, spec: EndpointSpec) -> None:
    """Raises ResourceLimitExceeded if an endpoint cannot go from `former` to `spec`."""
    limits = call.quotas.instances
    before, after = _by_type(former), _by_type(spec)
    growing = {type_ for type_ in after if type_ in limits and after[type_] > before[type_]}
    if not growing:
        return
    used: Counter[str] = Counter()
    for endpoint in await ENDPOINTS.where(call.connection, status=_USING):
        used += _by_type(endpoint.desired)
    for type_ in sorted(growing):
        delta = after[type_] - before[type_]
        if used[type_] + delta > limits[type_]:
            raise ResourceLimitExceeded(
                _limit(
                    f"{type_} for endpoint usage",
                    limits[type_],
                    used[type_],
                    delta,
                    "Instances",
                    f'more: set "{type_}" in [quotas.instances]',
                )
            )


async def check_endpoints(call: Call) -> None:
    """Raises ResourceLimitExceeded if there cannot be one more endpoint."""
    limit = call.quotas.endpoints
    if limit:
        count = await ENDPOINTS.count(call.connection, status=("Failed", *_USING))
        if count >= limit:
            raise ResourceLimitExceeded(
                _limit("endpoints", limit, count, 1, "Endpoints", "more: set endpoints in [quotas]")
            )


async def check_experiments(call: Call) -> None:
    """Raises ResourceLimitExceeded if there cannot be one more unfinished experiment."""
    limit = call.quotas.experiments
    if limit:
        count = await EXPERIMENTS.count(call.connection, status=UNFINISHED_EXPERIMENT)
        if count >= limit:
            raise ResourceLimitExceeded(
                _limit(
                    "unfinished inference experiments",
                    limit,
                    count,
                    1,
                    "InferenceExperiments",
                    "more: set experiments in [quotas]",
                )
            )


def _by_type(spec: EndpointSpec | None) -> Counter[str]:
    counts: Counter[str] = Counter()
    for variant in spec.variants if spec else ():
        counts[variant.instance_type] += variant.count
    return counts


def _limit(what: str, limit: int, used: int, delta: int, unit: str, advice: str) -> str:
    return (
        f"The account-level service limit '{what}' is {limit} {unit}, with current utilization of "
        f"{used} {unit} and a request delta of {delta} {unit}. Delete what is not needed, or allow "
        f"{advice} of gnomon.toml."
    )
