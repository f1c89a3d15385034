"""A state database as years of use leave it: many experiments, most of them over.

Written through the store's own records, tables and derived columns, in bulk. The endpoints want no
instances, so that none is missing: what models cost is not measured.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from gnomon.control.plan_endpoint import route_of
from gnomon.model.arn import ENDPOINT, ENDPOINT_CONFIG, EXPERIMENT, MODEL, Account
from gnomon.model.experiment import ExperimentPlan, ModelVariant
from gnomon.model.ids import ulid
from gnomon.model.records import (
    EndpointConfigRecord,
    EndpointRecord,
    ExperimentRecord,
    ModelRecord,
)
from gnomon.model.spec import Container, EndpointSpec, VariantSpec
from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate
from gnomon.store.state import routing
from gnomon.store.state.resources import ENDPOINT_CONFIGS, ENDPOINTS, EXPERIMENTS, MODELS, Resource
from gnomon.store.state.rows import to_row

DAY_S = 86_400.0
# How far back the oldest row was made (s).
AGE_S = 730 * DAY_S
ROLE = "arn:aws:iam::123456789012:role/service-role/AmazonSageMaker-ExecutionRole"
INSTANCE_TYPE = "ml.m5.xlarge"
# Of this many endpoints one has failed, and of so many one has an experiment that has not ended.
_FAILED_OF = 10
_TESTED_OF = 2

_ACCOUNT = Account("us-east-1", "123456789012")
_IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
_TEAMS = ("flights", "pricing", "fraud", "search", "ads", "supply", "claims", "churn")
_BATCH = 5_000
# The same rows in every run.
_SEED = 20_240_607


def endpoint_name(number: int) -> str:
    return f"{_TEAMS[number % len(_TEAMS)]}-prod-{number:05}"


def model_name(number: int) -> str:
    return f"{_TEAMS[number % len(_TEAMS)]}-model-{number:05}"


def experiment_name(number: int) -> str:
    return f"{_TEAMS[number % len(_TEAMS)]}-shadow-{number:06}"


def free_endpoints(count: int) -> list[int]:
    """Numbers of those that serve and have no experiment that has not ended."""
    return [n for n in range(count) if n % _FAILED_OF and n % _TESTED_OF]


async def make(directory: Path) -> None:
    """Both databases of a data directory, with nothing in them."""
    await migrate("telemetry", sqlite_url(directory / "telemetry.db"))
    await migrate("state", sqlite_url(directory / "state.db"))


async def fill(database: Database, experiments: int, endpoints: int) -> None:
    """Adds so many rows to the state database, and models and endpoint configurations as many as
    endpoints.
    """
    chance = random.Random(_SEED)
    now_s = time.time()
    await _add(database, MODELS, (_model(n, chance, now_s) for n in range(endpoints)))
    await _add(database, ENDPOINT_CONFIGS, (_config(n, chance, now_s) for n in range(endpoints)))
    made = [_endpoint(n, chance, now_s) for n in range(endpoints)]
    await _add(database, ENDPOINTS, iter(made))
    tests = (_experiment(n, made, chance, now_s) for n in range(experiments))
    await _add(database, EXPERIMENTS, tests)
    await _publish(database, made)


async def _add(database: Database, resource: Resource[Any], records: Iterator[Any]) -> None:
    while batch := list(islice(records, _BATCH)):
        rows = [to_row(record, named=True) | resource.derived(record) for record in batch]
        async with database.writing() as connection:
            await connection.execute(insert(resource.table), rows)


async def _publish(database: Database, endpoints: Sequence[EndpointRecord]) -> None:
    async with database.writing() as connection:
        for endpoint in endpoints:
            version = await routing.next_version(connection)
            entry = route_of(endpoint, (), version)
            if entry is not None:
                await routing.publish(connection, endpoint.id, version, entry)


def _id(at_s: float, chance: random.Random) -> str:
    return ulid(at_s, chance.randbytes(10))


def _made_s(chance: random.Random, now_s: float) -> float:
    return now_s - chance.uniform(DAY_S, AGE_S)


def _model(number: int, chance: random.Random, now_s: float) -> ModelRecord:
    at_s, name = _made_s(chance, now_s), model_name(number)
    container = {"Image": _IMAGE, "Environment": {"STAGE": "prod"}}
    return ModelRecord(
        id=_id(at_s, chance),
        name=name,
        arn=_ACCOUNT.arn(MODEL, name),
        created_at_s=at_s,
        tags={"team": _TEAMS[number % len(_TEAMS)]},
        request={"ModelName": name, "PrimaryContainer": container, "ExecutionRoleArn": ROLE},
    )


def _config(number: int, chance: random.Random, now_s: float) -> EndpointConfigRecord:
    at_s, name = _made_s(chance, now_s), f"{endpoint_name(number)}-config"
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": model_name(number),
        "InstanceType": INSTANCE_TYPE,
        "InitialInstanceCount": 1,
    }
    return EndpointConfigRecord(
        id=_id(at_s, chance),
        name=name,
        arn=_ACCOUNT.arn(ENDPOINT_CONFIG, name),
        created_at_s=at_s,
        tags={},
        request={"EndpointConfigName": name, "ProductionVariants": [variant]},
    )


def _endpoint(number: int, chance: random.Random, now_s: float) -> EndpointRecord:
    at_s, name = _made_s(chance, now_s), endpoint_name(number)
    variant = VariantSpec(
        id=_id(at_s, chance),
        name="AllTraffic",
        model_name=model_name(number),
        model_id=_id(at_s, chance),
        container=Container(_IMAGE, None, {"STAGE": "prod"}),
        instance_type=INSTANCE_TYPE,
        count=0,
        weight=1.0,
    )
    spec = EndpointSpec(config_name=f"{name}-config", production=(variant,))
    failed = number % _FAILED_OF == 0
    return EndpointRecord(
        id=_id(at_s, chance),
        name=name,
        arn=_ACCOUNT.arn(ENDPOINT, name),
        created_at_s=at_s,
        modified_at_s=chance.uniform(at_s, now_s),
        tags={"team": _TEAMS[number % len(_TEAMS)]},
        status="Failed" if failed else "InService",
        failure_reason="The archive could not be had." if failed else "",
        desired=spec,
        serving=None if failed else spec,
        changing_since_s=at_s,
    )


def _experiment(
    number: int, endpoints: Sequence[EndpointRecord], chance: random.Random, now_s: float
) -> ExperimentRecord:
    """The first ones have not ended, one an endpoint; of the others a tenth was cancelled."""
    name = experiment_name(number)
    is_unfinished = number < len(endpoints) // _TESTED_OF
    of = number * _TESTED_OF if is_unfinished else number % len(endpoints)
    endpoint = endpoints[of]
    if is_unfinished:
        at_s = now_s - chance.uniform(0, DAY_S)
        status = "Created" if number % 2 else "Running"
    else:
        at_s = _made_s(chance, now_s)
        status = "Cancelled" if number % 10 == 0 else "Completed"
    # None comes due while it is measured.
    starts_at_s = now_s + 10 * DAY_S if status == "Created" else at_s
    ends_at_s = max(starts_at_s, now_s if is_unfinished else 0.0) + 7 * DAY_S
    production = endpoint.desired.production[0]
    return ExperimentRecord(
        id=_id(at_s, chance),
        name=name,
        arn=_ACCOUNT.arn(EXPERIMENT, name),
        created_at_s=at_s,
        modified_at_s=chance.uniform(at_s, now_s),
        tags={"team": _TEAMS[number % len(_TEAMS)]},
        status=status,
        status_reason="Another model was better." if status == "Cancelled" else "",
        endpoint_name=endpoint.name,
        endpoint_id=endpoint.id,
        plan=ExperimentPlan(
            description=f"Candidate {number} against what serves",
            role_arn=ROLE,
            starts_at_s=starts_at_s,
            ends_at_s=ends_at_s,
            production=_model_variant("AllTraffic", production, chance),
            shadow=_model_variant("Shadow-01", production, chance),
            sampling_percentage=50,
            data_storage={"Destination": f"s3://captures/{name}"},
            former=None if status == "Created" else endpoint.desired,
        ),
        completed_at_s=None if is_unfinished else ends_at_s,
    )


def _model_variant(name: str, of: VariantSpec, chance: random.Random) -> ModelVariant:
    return ModelVariant(
        variant_id=_id(0.0, chance),
        variant_name=name,
        model_name=of.model_name,
        model_id=of.model_id,
        container=of.container,
        instance_type=of.instance_type,
        count=1,
    )
