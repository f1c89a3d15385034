import pytest

from gnomon.app.restarts import restart_delay_s


@pytest.mark.parametrize(
    ("deaths", "delay_s"),
    [
        ([0.0], 0.0),
        ([0.0, 1.0], 0.0),
        ([0.0, 1.0, 2.0], 0.5),
        ([0.0, 1.0, 2.0, 3.0], 1.0),
        ([float(n) / 10 for n in range(10)], 5.0),
        ([0.0, 1.0, 20.0], 0.0),
    ],
)
def test_the_first_deaths_are_forgiven_at_once_and_the_next_ever_later(deaths, delay_s):
    assert restart_delay_s(deaths) == delay_s
