from pathlib import Path

import pytest

from gnomon.cli.time_limits import time_limits
from gnomon.settings import HostingSettings, RouterSettings, Settings


@pytest.mark.parametrize("stop_time_limit_s", [0.0, 30.0, 600.0])
def test_control_has_time_to_see_stubborn_instances_killed(stop_time_limit_s):
    hosting = HostingSettings(stop_time_limit_s=stop_time_limit_s)
    limits = time_limits(Settings(Path("/d"), hosting=hosting))
    # The host waits five seconds more after SIGKILL.
    assert limits.control_s > stop_time_limit_s + 5.0
    assert limits.all_s >= limits.control_s + stop_time_limit_s + 5.0


def test_a_router_has_time_for_what_a_model_may_take():
    router = RouterSettings(model_time_limit_s=300.0, drain_idle_s=7.0)
    assert time_limits(Settings(Path("/d"), router=router)).router_s > 307.0
