import pytest
from examples.demo import checks
from examples.demo.checks import Counts
from examples.demo.records import Pair, Record
from examples.demo.traffic import Answer

PRODUCTION_LABELS = ["0", "1", "0"]
SHADOW_LABELS = ["0", "0", "0"]


def answer(number, label, variant="logistic", at_s=0.0):
    return Answer(number, label, variant, "i1", f"event-{number}", at_s)


def record(number, label="0", event_id=None):
    return Record(event_id or f"event-{number}", number, label, "{}")


@pytest.mark.parametrize(
    ("sampled", "holds"), [(5000, True), (5250, True), (5251, False), (4750, True), (4749, False)]
)
def test_the_mirrored_count_may_be_five_sigma_off(sampled, holds):
    # σ of binomial(10,000, ½) is 50.
    check = checks.mirrored_as_sampled(10_000, sampled, 10_000, 50)
    assert check.holds is holds


def test_a_request_that_was_no_candidate_does_not_hold():
    assert not checks.mirrored_as_sampled(9_999, 5_000, 10_000, 50).holds


def test_no_traffic_does_not_hold():
    assert not checks.mirrored_as_sampled(0, 0, 0, 50).holds
    assert not checks.no_failures([], 0).holds


def test_one_failure_does_not_hold_and_is_shown():
    check = checks.no_failures(["flight 7: ReadTimeoutError"], 100)
    assert not check.holds
    assert "flight 7" in check.said


@pytest.mark.parametrize(("mirrored", "holds"), [(90, True), (89, False)])
def test_each_copy_is_mirrored_or_dropped(mirrored, holds):
    check = checks.copies_accounted(100, mirrored, {"over_budget": 6, "refused": 4})
    assert check.holds is holds


@pytest.mark.parametrize(
    ("client", "router", "holds"),
    [
        ({"a": 5, "b": 7}, {"a": 5, "b": 7}, True),
        ({"a": 12}, {"a": 12}, False),
        ({"a": 5, "b": 7}, {"a": 5, "b": 8}, False),
        ({"a": 5, "": 7}, {"a": 5, "b": 7}, False),
    ],
)
def test_both_instances_answer_by_both_counts(client, router, holds):
    assert checks.all_instances_answered(client, router, 2).holds is holds


@pytest.mark.parametrize(
    ("answers", "holds"),
    [
        ([answer(0, "0"), answer(1, "1")], True),
        # The shadow's label under production's name.
        ([answer(0, "0"), answer(1, "0")], False),
        ([answer(0, "0"), answer(1, "1", variant="boosting")], False),
        # Where both models say the same, the answers tell nothing.
        ([answer(0, "0"), answer(2, "0")], False),
    ],
)
def test_no_answer_may_come_from_the_shadow(answers, holds):
    check = checks.no_shadow_answer(answers, "logistic", PRODUCTION_LABELS, SHADOW_LABELS)
    assert check.holds is holds


def test_flights_begin_again_when_they_run_out():
    answers = [answer(4, "1")]
    assert checks.no_shadow_answer(answers, "logistic", PRODUCTION_LABELS, SHADOW_LABELS).holds


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        (answer(1, "1"), True),
        (answer(1, "0", variant="boosting"), True),
        (answer(1, "1", variant="boosting"), False),
        (answer(1, "1", variant="another"), False),
    ],
)
def test_each_answer_is_what_its_variant_says(given, holds):
    expected = {"logistic": PRODUCTION_LABELS, "boosting": SHADOW_LABELS}
    assert checks.answers_true([given], expected).holds is holds


def test_after_the_switch_only_the_promoted_variant_answers():
    before, after = answer(0, "0", at_s=1.0), answer(1, "0", variant="boosting", at_s=3.0)
    late = answer(2, "0", at_s=4.0)
    assert checks.promoted([before, after], "boosting", 2.0).holds
    assert not checks.promoted([before, after, late], "boosting", 2.0).holds
    assert not checks.promoted([before], "boosting", 2.0).holds


@pytest.mark.parametrize(
    ("counts", "holds"),
    [
        (Counts("boosting", client=10, copies=5, router=15, models=15), True),
        (Counts("boosting", client=10, copies=5, router=14, models=15), False),
        (Counts("boosting", client=10, copies=5, router=15, models=14), False),
        (Counts("boosting", client=11, copies=5, router=15, models=15), False),
        (Counts("boosting", client=10, copies=5, router=15, models=13, unanswered=2), True),
        (Counts("boosting", client=10, copies=5, router=15, models=12, unanswered=2), False),
        (Counts("boosting", client=10, copies=5, router=15, models=16, unanswered=2), False),
    ],
)
def test_three_counts_agree_or_not(counts, holds):
    assert checks.counts_agree([counts]).holds is holds


def test_every_variant_has_to_agree():
    good, bad = Counts("a", 1, 0, 1, 1), Counts("b", 1, 0, 2, 1)
    assert not checks.counts_agree([good, bad]).holds
    assert not checks.counts_agree([]).holds


def test_records_are_complete():
    production, shadow = [record(0), record(1)], [record(1)]
    pairs = [Pair(production[1], shadow[0])]
    assert checks.records_complete(production, shadow, pairs, 2, 1).holds


@pytest.mark.parametrize(
    ("production", "shadow", "candidates", "mirrored"),
    [
        pytest.param([record(0)], [record(0)], 2, 1, id="one of production is missing"),
        pytest.param([record(0), record(1)], [], 2, 1, id="one of the shadow is missing"),
        pytest.param([record(0), record(0)], [record(0)], 2, 1, id="one is written twice"),
        pytest.param(
            [record(0), record(1, event_id="other")],
            [record(2, event_id="other")],
            2,
            1,
            id="a pair joins two requests",
        ),
    ],
)
def test_records_are_not_complete(production, shadow, candidates, mirrored):
    by_event = {item.event_id: item for item in production}
    pairs = [Pair(by_event[item.event_id], item) for item in shadow]
    assert not checks.records_complete(production, shadow, pairs, candidates, mirrored).holds


@pytest.mark.parametrize(("label", "holds"), [("1", True), ("0", False)])
def test_records_hold_what_the_client_got(label, holds):
    assert checks.records_match_answers([record(1, label)], [answer(1, "1")]).holds is holds


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        ("ValidationException: KmsKey: The KMS key x cannot be used: it does not exist.", True),
        ("ValidationException: Schedule is wrong", False),
        ("ResourceNotFound: KmsKey", False),
    ],
)
def test_a_key_is_refused_by_name(said, holds):
    assert checks.key_refused("KmsKey", said).holds is holds
