"""Every List operation: filters, orders, and pages that stay right while rows come and go."""

import datetime as dt
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.control.operations.listing import _decode
from gnomon.errors import ValidationFailed
from gnomon.model.records import ModelRecord
from gnomon.store.state.resources import ENDPOINTS, EXPERIMENTS, MODELS
from gnomon.testing.builders import an_endpoint, an_experiment
from gnomon.testing.control import CallRefused
from gnomon.testing.requests import make_config, make_model

STATUSES = ("Completed", "Cancelled", "Created")


def at(epoch_s):
    return dt.datetime.fromtimestamp(epoch_s, dt.UTC)


def experiment(number):
    """Created in order of their numbers, modified in the reverse, two of the same second."""
    return an_experiment(
        id=f"E{number:025d}",
        name=f"{'Even' if number % 2 == 0 else 'odd'}-{number * 7 % 31:02d}",
        created_at_s=1000.0 + number // 2,
        modified_at_s=5000.0 - number,
        status=STATUSES[number % 3],
    )


ROWS = [experiment(number) for number in range(30)]


@pytest.fixture
async def listed(control):
    async with control.transactions.call() as call:
        for row in ROWS:
            await EXPERIMENTS.add(call.connection, row)

    async def listed(**params):
        found = await control.call("ListInferenceExperiments", **{"MaxResults": 100} | params)
        return [summary["Name"] for summary in found["InferenceExperiments"]]

    return listed


ORDERS = {
    "Name": lambda row: (row.name.lower(), row.id),
    "CreationTime": lambda row: (row.created_at_s, row.id),
    "Status": lambda row: (row.status, row.created_at_s, row.id),
}


@pytest.mark.parametrize("order", ["Ascending", "Descending"])
@pytest.mark.parametrize("sort_by", ORDERS)
async def test_every_order_is_kept_over_pages_of_any_size(control, listed, sort_by, order):
    expected = [
        row.name for row in sorted(ROWS, key=ORDERS[sort_by], reverse=order == "Descending")
    ]
    assert await listed(SortBy=sort_by, SortOrder=order) == expected
    for size in (1, 7, 30):
        names, params = [], {}
        while True:
            found = await control.call(
                "ListInferenceExperiments",
                SortBy=sort_by,
                SortOrder=order,
                MaxResults=size,
                **params,
            )
            names += [summary["Name"] for summary in found["InferenceExperiments"]]
            if "NextToken" not in found:
                break
            params = {"NextToken": found["NextToken"]}
        assert names == expected


async def test_newest_first_and_ten_is_the_default(control, listed):
    found = await control.call("ListInferenceExperiments")
    assert [s["Name"] for s in found["InferenceExperiments"]] == (
        await listed(SortBy="CreationTime", SortOrder="Descending")
    )[:10]


@pytest.mark.parametrize(
    ("params", "passes"),
    [
        ({"NameContains": "EVEN-1"}, lambda row: "even-1" in row.name.lower()),
        ({"NameContains": "%"}, None),
        ({"Type": "ShadowMode"}, lambda _: True),
        ({"StatusEquals": "Created"}, lambda row: row.status == "Created"),
        ({"StatusEquals": "Running"}, lambda _: False),
        ({"CreationTimeAfter": at(1005)}, lambda row: row.created_at_s > 1005),
        ({"CreationTimeBefore": at(1005)}, lambda row: row.created_at_s < 1005),
        ({"LastModifiedTimeAfter": at(4990)}, lambda row: row.modified_at_s > 4990),
        ({"LastModifiedTimeBefore": at(4990)}, lambda row: row.modified_at_s < 4990),
        (
            {"NameContains": "odd", "StatusEquals": "Completed", "CreationTimeAfter": at(1003)},
            lambda row: "odd" in row.name and row.status == "Completed" and row.created_at_s > 1003,
        ),
    ],
)
async def test_every_filter_is_applied_in_every_order(listed, params, passes):
    for sort_by, key in ORDERS.items():
        if passes is None:
            with pytest.raises(CallRefused, match="nameContains"):
                await listed(SortBy=sort_by, **params)
            continue
        expected = [row.name for row in sorted(filter(passes, ROWS), key=key)]
        assert await listed(SortBy=sort_by, SortOrder="Ascending", **params) == expected


@pytest.mark.parametrize("seed", range(5))
async def test_rows_that_come_and_go_neither_hide_nor_repeat_others(control, listed, seed):
    chance = random.Random(seed)
    stable, seen, params = {row.name for row in ROWS[::2]}, [], {}
    volatile = list(ROWS[1::2])
    sort_by = chance.choice(list(ORDERS))
    for number in range(100, 200):
        found = await control.call(
            "ListInferenceExperiments", SortBy=sort_by, MaxResults=4, **params
        )
        seen += [summary["Name"] for summary in found["InferenceExperiments"]]
        if "NextToken" not in found:
            break
        params = {"NextToken": found["NextToken"]}
        async with control.transactions.call() as call:
            if volatile:
                gone = volatile.pop(chance.randrange(len(volatile)))
                await EXPERIMENTS.remove(call.connection, gone.id)
            fresh = an_experiment(
                id=f"N{number:025d}",
                name=f"n-{number}",
                created_at_s=chance.uniform(900, 1100),
                status=chance.choice(STATUSES),
            )
            await EXPERIMENTS.add(call.connection, fresh)
    assert len(seen) == len(set(seen))
    assert stable <= set(seen)


async def test_a_token_is_good_for_its_operation_and_order_alone(control, listed):
    token = (await control.call("ListInferenceExperiments", MaxResults=1))["NextToken"]
    await make_model(control, "m")
    for operation, params in (
        ("ListInferenceExperiments", {"SortBy": "Name"}),
        ("ListInferenceExperiments", {"SortOrder": "Ascending"}),
        ("ListModels", {}),
        ("ListEndpoints", {}),
        ("ListEndpointConfigs", {}),
    ):
        with pytest.raises(CallRefused, match="NextToken is not one") as refused:
            await control.call(operation, NextToken=token, **params)
        assert refused.value.code == "ValidationException"


@settings(deadline=None)
@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_a_token_that_was_never_given_is_refused(token):
    with pytest.raises(ValidationFailed, match="NextToken"):
        _decode(token, ("models", "Name", "Ascending"))


async def test_models_configurations_and_endpoints_are_listed_too(control):
    for name in ("b", "A", "c"):
        await make_model(control, name)
        await make_config(control, f"{name}-config", name)
    async with control.transactions.call() as call:
        for number, status in enumerate(("InService", "Failed", "InService")):
            row = an_endpoint(id=f"P{number}", name=f"ep{number}", created_at_s=float(number))
            await ENDPOINTS.add(call.connection, row)
            if status == "Failed":
                await ENDPOINTS.put(
                    call.connection, an_endpoint(id=f"P{number}", name=f"ep{number}", status=status)
                )
    models = await control.call("ListModels", SortBy="Name", SortOrder="Ascending")
    assert [m["ModelName"] for m in models["Models"]] == ["A", "b", "c"]
    configs = await control.call("ListEndpointConfigs", NameContains="C-", MaxResults=1)
    assert [c["EndpointConfigName"] for c in configs["EndpointConfigs"]] == ["c-config"]
    failed = await control.call("ListEndpoints", StatusEquals="Failed", SortBy="Status")
    assert [e["EndpointName"] for e in failed["Endpoints"]] == ["ep1"]


def test_a_record_of_each_listed_kind_has_what_it_is_sorted_by():
    assert {"name", "created_at_s", "id"} <= set(ModelRecord.__struct_fields__)
    assert "name_key" in MODELS.table.c
