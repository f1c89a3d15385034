"""How an experiment is judged, as a user sets it: AWS's API has no field for that.

Settings that change while a test runs begin its counts anew: a margin that is chosen by looking at
the figures would make the intervals untrue.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gnomon.control.call import Call
from gnomon.control.judging import Judge
from gnomon.control.operations.experiments import find_experiment
from gnomon.control.transactions import Transactions
from gnomon.errors import Conflict, SettingsError
from gnomon.model.analysis import (
    NAMELESS,
    AnalysisRecord,
    AnalysisSettings,
    Guardrails,
)
from gnomon.model.records import ExperimentRecord
from gnomon.model.spec import EndpointSpec
from gnomon.store.state.analyses import analyses_of, put_analysis
from gnomon.store.state.resources import ENDPOINTS

# The statuses in which a test has not run yet: nothing was counted.
_BEFORE = ("Creating", "Created", "Starting")
_CHANGEABLE = (*_BEFORE, "Running", "Updating")


class AnalysisRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a PUT: what is left out is as `[analysis]` in the settings has it."""

    settings: AnalysisSettings = AnalysisSettings()
    guardrails: Guardrails = Guardrails()


@dataclass(frozen=True)
class Analyses:
    """Reads and sets how experiments are judged."""

    transactions: Transactions
    judge: Judge
    # Called with the id of an endpoint that routers are to hear of.
    wake: Callable[[str], None]
    # Names of the functions in the settings that may compare.
    comparators: Collection[str]

    async def show(self, name: str) -> dict[str, Any]:
        """How the experiment is judged; ResourceNotFound."""
        async with self.transactions.looking() as call:
            record = await find_experiment(call, name)
        return _shown(await self.judge.record(record.id))

    async def set(self, name: str, body: bytes) -> dict[str, Any]:
        """Sets it, and gives what is in force now.

        Raises SettingsError for a body that cannot be used, ResourceNotFound, and Conflict where
        the experiment is over.
        """
        wanted = self._read(body)
        async with self.transactions.call() as call:
            record = await find_experiment(call, name)
            if record.status not in _CHANGEABLE:
                raise Conflict(
                    f"The inference experiment {record.name} is {record.status}; how it is judged "
                    "can be changed until it ends."
                )
            own = await analyses_of(call.connection, [record.id])
            before = own.get(record.id) or self.judge.default_record(record.id)
            if wanted.settings == before.settings:
                after = msgspec.structs.replace(before, guardrails=wanted.guardrails)
            else:
                after = AnalysisRecord(
                    record.id,
                    call.new_id(),
                    None if record.status in _BEFORE else call.now_s,
                    wanted.settings,
                    wanted.guardrails,
                )
            await put_analysis(call.connection, after)
            await _tell(call, record, after.settings.noise_share)
        self.wake(record.endpoint_id)
        return _shown(after)

    def _read(self, body: bytes) -> AnalysisRequest:
        try:
            given = msgspec.json.decode(body or b"{}", type=dict[str, Any])
            settings = given.get("settings", {})
            if isinstance(settings, dict):
                given["settings"] = _merged(msgspec.to_builtins(self.judge.defaults), settings)
            guardrails = given.get("guardrails", {})
            if isinstance(guardrails, dict):
                given["guardrails"] = {**msgspec.to_builtins(self.judge.guardrails), **guardrails}
            wanted = msgspec.convert(given, AnalysisRequest)
        except msgspec.MsgspecError as error:
            raise SettingsError(f"The analysis cannot be used: {error}.") from error
        named = wanted.settings.comparator
        known = (*NAMELESS, *sorted(self.comparators))
        if named not in known:
            raise SettingsError(
                f"The analysis cannot be used: there is no comparator {named!r}; there are "
                f"{', '.join(known)}. [analysis.comparators] in the settings names more."
            )
        return wanted


async def _tell(call: Call, record: ExperimentRecord, noise_share: float) -> None:
    """Sets the share in the endpoint's state if the test is in it; else its start does."""
    endpoint = await ENDPOINTS.get(call.connection, record.endpoint_id)
    if endpoint is None:
        return

    def told(spec: EndpointSpec) -> EndpointSpec:
        test = spec.experiment
        if test is None or test.id != record.id:
            return spec
        test = msgspec.structs.replace(test, noise_share=noise_share)
        return msgspec.structs.replace(spec, experiment=test)

    changed = msgspec.structs.replace(
        endpoint,
        desired=told(endpoint.desired),
        serving=told(endpoint.serving) if endpoint.serving else None,
    )
    if changed != endpoint:
        await ENDPOINTS.put(call.connection, changed)


def _merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` over `defaults`, within `rules` and `comparison` too."""
    merged = {**defaults, **given}
    for name, value in defaults.items():
        if isinstance(value, dict) and isinstance(given.get(name), dict):
            merged[name] = {**value, **given[name]}
    return merged


def _shown(record: AnalysisRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "since_s": record.since_s,
        "settings": msgspec.to_builtins(record.settings),
        "guardrails": msgspec.to_builtins(record.guardrails),
    }
