import pytest

from gnomon.control.contention import (
    busy_share,
    is_contended,
    machine_delta,
    shares_machine,
)
from gnomon.model import metric
from gnomon.testing.builders import a_plan, an_experiment


@pytest.mark.parametrize(
    ("seconds", "busy", "share", "contended"),
    [(100, 0, 0, False), (100, 10, 0.1, False), (100, 11, 0.11, True), (0.5, 0.5, 1, True)],
)
def test_a_test_is_contended_if_its_machine_was_busy_for_over_a_tenth(
    seconds, busy, share, contended
):
    counts = {metric.MACHINE_SECONDS: seconds, metric.MACHINE_BUSY_SECONDS: busy}
    assert busy_share(counts) == share
    assert is_contended(counts) is contended


def test_a_machine_that_was_never_looked_at_is_not_said_to_be_contended():
    assert busy_share({}) is None
    assert not is_contended({})


@pytest.mark.parametrize(("percent", "busy"), [(80.0, 0.0), (80.1, 1.5), (100.0, 1.5)])
def test_seconds_are_busy_above_80_percent(percent, busy):
    delta = machine_delta(an_experiment(), 7, 1.5, percent)
    assert delta.counts.get(metric.MACHINE_SECONDS) == 1.5
    assert delta.counts.get(metric.MACHINE_BUSY_SECONDS, 0.0) == busy
    assert (delta.endpoint_id, delta.variant_id, delta.instance_id, delta.experiment_id) == (
        "endpoint-id",
        "variant-Shadow",
        "",
        "experiment-id",
    )


def test_variants_share_the_machine_only_if_both_run_on_it():
    experiment = an_experiment(plan=a_plan())
    images = [
        experiment.plan.production.container.image,
        experiment.plan.shadow.container.image,
    ]
    assert shares_machine(experiment, lambda _: True)
    answers = iter([True, False])
    assert not shares_machine(experiment, lambda image: image in images and next(answers))
