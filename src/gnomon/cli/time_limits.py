"""How long Gnomon may take to end: the supervisor keeps to it, and `gnomon down` waits for it."""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.settings import Settings

# Beyond what a process knows that it needs, until it is killed, in seconds.
_SLACK_S = 10.0
# How long the collector goes on emptying the spool, in seconds; the rest stays for the next start.
SPOOL_S = 30.0
# The S3 server beside takes about 4 s to end, in seconds.
_STORE_S = 20.0
# What is waited for the end of a session after its SIGKILL (`gnomon.hosting`), in seconds.
_KILL_PATIENCE_S = 5.0


@dataclass(frozen=True)
class TimeLimits:
    """In seconds: for each kind of process, and for instances that control did not stop."""

    router_s: float
    collector_s: float
    control_s: float
    instances_s: float
    store_s: float

    @property
    def all_s(self) -> float:
        """One kind ends after the other."""
        return self.router_s + self.collector_s + self.control_s + self.store_s + self.instances_s


def time_limits(settings: Settings) -> TimeLimits:
    """From what the settings give models to answer and to end."""
    router, hosting = settings.router, settings.hosting
    instances_s = hosting.stop_time_limit_s + _KILL_PATIENCE_S
    return TimeLimits(
        router_s=router.model_time_limit_s
        + router.stream_time_limit_s
        + router.drain_idle_s
        + _SLACK_S,
        collector_s=SPOOL_S + _SLACK_S,
        control_s=instances_s + _SLACK_S,
        instances_s=instances_s,
        store_s=_STORE_S if settings.objects.store == "seaweedfs" else 0.0,
    )
