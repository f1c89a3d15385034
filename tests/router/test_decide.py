from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.router.decide import (
    cumulative_shares,
    is_ejectable,
    mirror_obstacle,
    pick_by_share,
    pick_least_outstanding,
    pick_random,
)
from gnomon.settings import RouterSettings

DRAWS = st.floats(0, 1, exclude_max=True)


@dataclass
class Counted:
    outstanding: int


@pytest.mark.parametrize(
    ("weights", "draw", "index"),
    [
        ((1.0,), 0.999, 0),
        ((1.0, 1.0), 0.49, 0),
        ((1.0, 1.0), 0.5, 1),
        ((3.0, 1.0), 0.74, 0),
        ((3.0, 1.0), 0.76, 1),
        ((0.0, 1.0), 0.0, 1),
        ((1.0, 0.0), 0.9999999, 0),
    ],
)
def test_a_variant_gets_its_weights_share_of_the_draws(weights, draw, index):
    assert pick_by_share(cumulative_shares(weights), draw) == index


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=10), DRAWS)
def test_a_variant_without_weight_is_never_picked(weights, draw):
    cumulative = cumulative_shares(weights)
    if cumulative:
        assert weights[pick_by_share(cumulative, draw)] > 0
    else:
        assert sum(weights) == 0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), DRAWS)
def test_least_outstanding_picks_a_minimum(outstanding, draw):
    candidates = [Counted(count) for count in outstanding]
    assert pick_least_outstanding(candidates, draw).outstanding == min(outstanding)


def test_the_draw_decides_among_equals():
    candidates = [Counted(0) for _ in range(4)]
    picked = {id(pick_least_outstanding(candidates, draw)) for draw in (0.0, 0.3, 0.6, 0.9)}
    assert len(picked) == 4


@given(st.integers(1, 20), DRAWS)
def test_random_picks_whatever_the_draw_says(count, draw):
    candidates = [Counted(index) for index in range(count)]
    assert pick_random(candidates, draw).outstanding == int(draw * count)


LIMITS = RouterSettings(mirror_max_in_flight=2, mirror_endpoint_bytes=100, mirror_router_bytes=200)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"last_connect": "refused"}, "refused"),
        ({"last_connect": "connect_deadline"}, "refused"),
        ({"last_connect": "not_connected"}, "not_connected"),
        ({"is_out_of_connections": True}, "over_budget"),
        ({"is_reading_held": True}, "read_budget"),
        ({"body_bytes": 101}, "too_large"),
        ({"endpoint_in_flight": 1}, None),
        ({"endpoint_in_flight": 2}, "over_budget"),
        ({"endpoint_bytes": 90, "body_bytes": 10}, None),
        ({"endpoint_bytes": 91, "body_bytes": 10}, "over_budget"),
        ({"router_bytes": 190, "body_bytes": 10}, None),
        ({"router_bytes": 191, "body_bytes": 10}, "over_budget"),
    ],
)
def test_a_copy_needs_room_in_every_budget(change, reason):
    use = {
        "last_connect": None,
        "is_out_of_connections": False,
        "is_reading_held": False,
        "body_bytes": 1,
        "endpoint_in_flight": 0,
        "endpoint_bytes": 0,
        "router_bytes": 0,
    }
    assert mirror_obstacle(LIMITS, **{**use, **change}) == reason


@pytest.mark.parametrize(
    ("failure", "in_a_row", "healthy", "ejected"),
    [
        ("refused", 0, 2, True),
        ("refused", 0, 1, True),
        ("reset", 0, 2, True),
        ("reset", 0, 1, False),
        ("malformed", 0, 2, True),
        ("malformed", 0, 1, False),
        ("deadline", 1, 2, False),
        ("deadline", 2, 2, True),
        ("deadline", 2, 1, False),
        ("connect_deadline", 1, 2, False),
        ("connect_deadline", 2, 2, True),
        ("cut", 0, 2, False),
        ("not_connected", 0, 2, False),
        ("not_connected", 0, 1, False),
    ],
)
def test_what_ejects_an_instance(failure, in_a_row, healthy, ejected):
    assert (
        is_ejectable(failure, time_limits_in_a_row=in_a_row, healthy_instances=healthy) is ejected
    )
