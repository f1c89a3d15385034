import itertools

import pytest

from gnomon.model.lifecycle import ENDPOINT, EXPERIMENT, INSTANCE, IllegalTransition, Lifecycle

LIFECYCLES = (ENDPOINT, EXPERIMENT, INSTANCE)


def moves(lifecycle: Lifecycle):
    return itertools.product((None, *lifecycle.statuses), lifecycle.statuses)


@pytest.mark.parametrize("lifecycle", LIFECYCLES, ids=lambda lifecycle: lifecycle.name)
def test_every_move_that_the_table_lacks_is_refused(lifecycle):
    legal = {(before, after) for before, _, after in lifecycle.rows}
    illegal = [move for move in moves(lifecycle) if move not in legal]
    assert illegal
    for before, after in illegal:
        with pytest.raises(IllegalTransition, match=lifecycle.name):
            lifecycle.check(before, after)


@pytest.mark.parametrize("lifecycle", LIFECYCLES, ids=lambda lifecycle: lifecycle.name)
def test_every_row_of_the_table_is_allowed(lifecycle):
    for before, _, after in lifecycle.rows:
        lifecycle.check(before, after)


@pytest.mark.parametrize("lifecycle", LIFECYCLES, ids=lambda lifecycle: lifecycle.name)
def test_every_status_can_be_reached_from_the_beginning(lifecycle):
    reached = {None}
    for _ in lifecycle.rows:
        reached |= {after for before, _, after in lifecycle.rows if before in reached}
    assert reached == {None, *lifecycle.statuses}


def test_experiment_statuses_are_those_of_the_service_model():
    from botocore.loaders import Loader

    model = Loader().load_service_model("sagemaker", "service-2")
    assert set(EXPERIMENT.statuses) == set(model["shapes"]["InferenceExperimentStatus"]["enum"])
