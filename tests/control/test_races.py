"""Two clients at once: one wins, the other gets the error that says so."""

import asyncio

import pytest

from gnomon.testing.control import CallRefused
from gnomon.testing.requests import (
    IMAGE,
    experiment_request,
    make_config,
    make_endpoint,
    make_model,
)


async def both(first, second):
    """What each of two calls that run at once came to: True, or its refusal."""

    async def came_to(call):
        try:
            await call
        except CallRefused as refused:
            return refused
        return True

    return await asyncio.gather(came_to(first), came_to(second))


def loser(outcomes):
    """The one refusal of two outcomes."""
    (refused,) = [outcome for outcome in outcomes if outcome is not True]
    return refused.code, refused.message


@pytest.mark.parametrize("attempt", range(3))
async def test_one_name_is_given_once(control, attempt):
    await make_model(control, "prod")
    await make_config(control, "config", "prod")

    def call(operation, **params):
        return control.call(operation, **params)

    model = {"PrimaryContainer": {"Image": IMAGE}}
    code, text = loser(
        await both(
            call("CreateModel", ModelName="One", **model),
            call("CreateModel", ModelName="one", **model),
        )
    )
    assert (code, "already existing model" in text) == ("ValidationException", True)
    code, text = loser(
        await both(
            call("CreateEndpoint", EndpointName="ep", EndpointConfigName="config"),
            call("CreateEndpoint", EndpointName="EP", EndpointConfigName="config"),
        )
    )
    assert (code, "already existing endpoint " in text) == ("ValidationException", True)
    await control.until_endpoint("ep", "InService")


async def test_one_experiment_has_a_name_and_one_has_an_endpoint(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    outcomes = await both(
        control.call("CreateInferenceExperiment", **experiment_request("same")),
        control.call("CreateInferenceExperiment", **experiment_request("SAME")),
    )
    assert loser(outcomes)[0] == "ResourceInUse"
    await control.until_experiment("same", "Running")
    await make_endpoint(control, "other", model="third")
    requests = [experiment_request(name, EndpointName="other") for name in ("one", "two")]
    for request in requests:
        request["ModelVariants"][0]["ModelName"] = "third"
    outcomes = await both(
        *(control.call("CreateInferenceExperiment", **request) for request in requests)
    )
    assert loser(outcomes)[0] == "ResourceInUse"
    await control.until_experiment("one" if outcomes[0] is True else "two", "Running")


async def test_one_change_of_an_endpoint_is_taken(control):
    await make_endpoint(control)
    # An update that does not come to its end meanwhile.
    await make_model(control, "slow", "s3://bucket/endless.tar.gz")
    await make_config(control, "slow", "slow")
    outcomes = await both(
        control.call("UpdateEndpoint", EndpointName="ep", EndpointConfigName="slow"),
        control.call("DeleteEndpoint", EndpointName="ep"),
    )
    code, text = loser(outcomes)
    # The deletion may be over before the update is looked at.
    assert code == "ValidationException"
    assert text.startswith(("Cannot update in-progress endpoint ", "Could not find endpoint "))


async def test_a_stop_and_an_update_at_once_leave_a_sound_state(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    await control.call("CreateInferenceExperiment", **experiment_request())
    await control.until_experiment("exp", "Running")
    outcomes = await both(
        control.call(
            "StopInferenceExperiment", Name="exp", ModelVariantActions={"Shadow-01": "Remove"}
        ),
        control.call("UpdateInferenceExperiment", Name="exp", Description="changed"),
    )
    if outcomes == [True, True]:
        # The update was over before the stop was looked at: one after the other, not at once.
        found = await control.until_experiment("exp", "Cancelled")
        assert found["Description"] == "changed"
        return
    assert loser(outcomes)[0] == "ConflictException"
    if outcomes[0] is True:
        found = await control.until_experiment("exp", "Cancelled")
        assert "Description" not in found
    else:
        found = await control.until_experiment("exp", "Running")
        assert found["Description"] == "changed"


async def test_two_stops_at_once_are_one(control):
    await make_endpoint(control)
    await make_model(control, "shad")
    await control.call("CreateInferenceExperiment", **experiment_request())
    await control.until_experiment("exp", "Running")

    def stop(state):
        return control.call(
            "StopInferenceExperiment",
            Name="exp",
            ModelVariantActions={"Shadow-01": "Remove"},
            DesiredState=state,
        )

    outcomes = await both(stop("Completed"), stop("Cancelled"))
    assert loser(outcomes)[0] == "ConflictException"
    await control.until_experiment("exp", "Completed" if outcomes[0] is True else "Cancelled")
