"""One router: everything of the data plane, put together, started and drained.

`gnomon.app.router` makes it, gives it its listening socket and ends it. The parts know of each
other only what they are handed here; everything periodic is driven from here.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from random import Random

import structlog

from gnomon.model.clock import Clock
from gnomon.model.snapshot import Incarnation, Instance, Update
from gnomon.router import descriptors, snapshot_file
from gnomon.router.access_log import AccessLog
from gnomon.router.barriers import Barriers
from gnomon.router.client import Clients
from gnomon.router.clock import MachineClock
from gnomon.router.counters import Counters, Spool
from gnomon.router.ejection import Ejections
from gnomon.router.exchange import EventIds
from gnomon.router.feed import Feed
from gnomon.router.front import Front
from gnomon.router.instance import LiveInstance, LiveVariant
from gnomon.router.outbox import Outbox
from gnomon.router.plane import DataPlane
from gnomon.router.pool import Address, Pool, PoolLimits
from gnomon.router.read_budget import ReadBudget
from gnomon.router.records import Records
from gnomon.router.routes import RoutingTable
from gnomon.router.seal import Seal
from gnomon.router.totals import Totals
from gnomon.settings import AwsSettings, RouterSettings
from gnomon.spool.frames import Complete

# Deadlines and idle connections are looked at this often (s): they are seconds long.
_SWEEP_INTERVAL_S = 0.1
# Metrics, pings and the Date header (s).
_TICK_INTERVAL_S = 1.0
# SageMaker gives a ping 2 s.
_PING_TIME_LIMIT_S = 2.0
# Endpoints that are rebuilt without letting requests in between: a few milliseconds' work.
_SLICE = 20
# After each save of the snapshot the next waits for so long an endpoint (s), or saving would take a
# core where many endpoints change: of 10,000 it takes 0.1 s, and is done every 10 s at most.
_SAVE_REST_S = 0.001
# The part of the process's descriptors that shadows may take: hung ones hold theirs for a minute.
_SHADOWS_DESCRIPTORS = 0.25
# Control has so long (s) to say what changed since the snapshot on disk; it takes milliseconds.
_FIRST_UPDATE_LIMIT_S = 1.0
# The kernel's queue of connections that wait to be accepted.
_BACKLOG = 4096

log = structlog.get_logger(__name__)


class Router:
    """Start it once, drain it once, in the loop in which it was made.

    `version` is that of the routing snapshot that it serves from, `trouble` a sentence on what it
    cannot keep now, or nothing.
    """

    def __init__(
        self,
        settings: RouterSettings,
        *,
        incarnation: Incarnation,
        spool: Spool,
        control_address: Address,
        feed_path: Path,
        snapshot_path: Path,
        seal: Seal,
        account_id: str,
        region: str,
        cover: Callable[[asyncio.Protocol], asyncio.Protocol] | None = None,
        totals: Totals | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        clock = clock or MachineClock()
        random = random or Random()
        self.version = 0
        # What the spool cannot keep, as it was last seen and logged.
        self.trouble = ""
        self._spool = spool
        self._settings = settings
        self._clock = clock
        self._snapshot_path = snapshot_path
        self._seal = seal
        self._snapshot_changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._listener: socket.socket | None = None

        event_ids = EventIds(random)
        self._totals = totals
        self._counters = Counters(spool, totals)
        self._routes = RoutingTable(self._make_instance, self._counters)
        self._barriers = Barriers(spool, self._counters, clock)
        self._ejections = Ejections(self._make_ping_pool, clock)
        self._read_budget = ReadBudget(settings.mirror_read_bytes_per_s, clock)
        self._shadow_connections = descriptors.ConnectionBudget(
            int(descriptors.limit() * _SHADOWS_DESCRIPTORS)
        )
        self._records = Records(spool, settings.pair_body_bytes)
        self._plane = DataPlane(
            settings,
            AwsSettings(account_id, region),
            clock,
            random,
            event_ids,
            self._ejections,
            self._read_budget,
            self._records,
        )
        self._outbox = Outbox(clock.monotonic_s)
        self._control = Pool(
            control_address, settings.pool_idle_s, self._pool_limits(), clock, self._outbox
        )
        front = Front(
            self._routes,
            self._plane,
            self._control,
            clock,
            event_ids,
            account_id,
            settings.max_answer_bytes,
        )
        self._access_log: AccessLog | None = None
        if settings.access_log_share > 0:
            self._access_log = AccessLog(settings.access_log_share, random.random, clock)
        self._clients = Clients(
            front, settings, clock.monotonic_s, self._outbox, cover, self._access_log
        )
        self._feed = Feed(feed_path, incarnation, self)

    @property
    def copies_in_flight(self) -> int:
        """Copies that have neither an answer nor failed."""
        return self._plane.mirror.in_flight

    @property
    def is_shadow_reading_held(self) -> bool:
        """Whether shadows are not read now, because they were read at the limit."""
        return self._read_budget.is_spent

    # --- Life ---------------------------------------------------------------------------------

    async def start(
        self, listener: socket.socket, *, relieves: bool = False, patience_s: float = 0.0
    ) -> None:
        """Serve on `listener`, which is bound, from what control says or, without it, the disk.

        Control is waited for as long as `patience_s` if the disk does not say all, or `relieves`:
        others serve on the same socket. Connections wait meanwhile.
        """
        snapshot = await asyncio.to_thread(snapshot_file.load, self._snapshot_path, self._seal)
        if snapshot is not None:
            await self._apply(snapshot)
        self.tick()
        loop = asyncio.get_running_loop()
        self._keeping = loop.create_task(self._keep_snapshot())
        self._tasks = [
            loop.create_task(self._repeat(_SWEEP_INTERVAL_S, self._sweep)),
            loop.create_task(self._repeat(_TICK_INTERVAL_S, self.tick)),
            self._keeping,
            loop.create_task(self._feed.run()),
        ]
        is_whole = snapshot is not None and snapshot.version > 0
        await self._first_update(0.0 if is_whole and not relieves else patience_s)
        listener.setblocking(False)
        self._listener = listener
        self._server = await loop.create_server(
            self._clients.connect, sock=listener, backlog=_BACKLOG
        )

    async def _first_update(self, patience_s: float) -> None:
        """Waits for control, which may be away; longer only with patience."""
        try:
            async with asyncio.timeout(max(patience_s, _FIRST_UPDATE_LIMIT_S)):
                # On disk may be instances that were stopped while no router ran.
                await (self._feed.heard() if patience_s else self._feed.asked())
        except TimeoutError:
            log.warning("control is away: serving from the snapshot on disk", version=self.version)

    async def drain(self, *, last: bool = False) -> None:
        """Stop accepting, answer what is open, write what there is to write.

        `last`: nobody else accepts from the socket, so what waits on it is accepted first.
        Returns when the last connection is closed and everything is with the spool.
        """
        self._clients.is_draining = True
        if last:
            await self._accept_waiting()
        else:
            # The snapshot's place on the disk is a successor's, which has another key.
            self._keeping.cancel()
        if self._server is not None:
            self._server.close()
        # What was accepted in this very moment has yet to reach its protocol.
        await asyncio.sleep(_SWEEP_INTERVAL_S)
        began_s = self._clock.monotonic_s()
        while self._clients.open:
            is_patient = self._clock.monotonic_s() - began_s < self._settings.drain_idle_s
            for connection in list(self._clients.open):
                if not is_patient and connection.is_idle:
                    connection.close()
            await asyncio.sleep(_SWEEP_INTERVAL_S)
        await self._end_copies()
        if self._access_log is not None:
            await self._access_log.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._barriers.check()
        self._counters.flush(self._clock.now_s())
        self._routes.abort()
        self._control.abort()

    async def _accept_waiting(self) -> None:
        if self._listener is None:
            return
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setblocking(False)
            await loop.connect_accepted_socket(self._clients.connect, connection)

    async def _end_copies(self) -> None:
        """Wait for the shadows as long as for clients; then break the copies off."""
        until_s = self._clock.monotonic_s() + self._settings.drain_idle_s
        mirror = self._plane.mirror
        while mirror.in_flight and self._clock.monotonic_s() < until_s:
            await asyncio.sleep(_SWEEP_INTERVAL_S)
        mirror.break_off()
        self._routes.abort()
        await self._records.end()

    # --- The routing snapshot -----------------------------------------------------------------

    def busy(self) -> tuple[str, ...]:
        """Instances that left the snapshot and still have a request in flight."""
        return self._routes.busy()

    async def apply(self, update: Update) -> None:
        """Make the update's changes, and put the snapshot on disk soon."""
        await self._apply(update)
        if update.endpoints or update.removed:
            self._snapshot_changed.set()

    async def _apply(self, update: Update) -> None:
        for removed in update.removed:
            self._routes.remove(removed.id)
            self._barriers.forget(removed.id)
            if self._totals is not None:
                self._totals.forget(removed.id)
        for number, spec in enumerate(update.endpoints, 1):
            self._barriers.expect(self._routes.apply(spec))
            if self._totals is not None:
                self._totals.name(spec)
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        self.version = update.version

    async def _keep_snapshot(self) -> None:
        while True:
            await self._snapshot_changed.wait()
            self._snapshot_changed.clear()
            snapshot = Update(self.version, self._routes.specs())
            try:
                await asyncio.to_thread(
                    snapshot_file.save, self._snapshot_path, snapshot, self._seal
                )
            except OSError as error:
                log.warning("the routing snapshot was not saved", reason=error.strerror)
            await asyncio.sleep(_SAVE_REST_S * len(snapshot.endpoints))

    # --- What is periodic ---------------------------------------------------------------------

    async def _repeat(self, interval_s: float, act: Callable[[], None]) -> None:
        """Act at every multiple of the interval by the clock, so that counts fit their minutes."""
        while True:
            await asyncio.sleep(interval_s - self._clock.now_s() % interval_s)
            try:
                act()
            except Exception:
                log.exception("periodic work failed", work=act.__name__)

    def _sweep(self) -> None:
        now_s = self._clock.monotonic_s()
        self._routes.sweep(now_s)
        self._ejections.sweep(now_s)
        self._control.sweep(now_s)
        self._feed.see_busy()

    def tick(self) -> None:
        """What is done each second: metrics, pings, time limits of clients."""
        now_s = self._clock.now_s()
        self._plane.date = formatdate(now_s, usegmt=True).encode()
        self._clients.sweep(self._clock.monotonic_s())
        self._ejections.ping()
        self._routes.count_in_flight()
        self._counters.flush(now_s)
        self._barriers.check()
        if self._routes.has_tests:
            self._spool.append(Complete(self._plane.open.complete_s(now_s)))
        self._see_spool()
        if self._access_log is not None:
            self._access_log.flush()

    def _see_spool(self) -> None:
        before, self.trouble = self.trouble, self._spool.trouble
        if self.trouble and not before:
            log.warning("records are not all kept", reason=self.trouble)
        elif before and not self.trouble:
            log.info("records are kept again")

    # --- Making -------------------------------------------------------------------------------

    def _make_instance(self, spec: Instance, variant: LiveVariant) -> LiveInstance:
        limits = self._pool_limits()
        address = (spec.host, spec.port)
        pool = Pool(address, spec.keep_alive_s, limits, self._clock, self._outbox)
        shadow_pool = Pool(
            address,
            spec.keep_alive_s,
            limits,
            self._clock,
            self._outbox,
            self._read_budget,
            self._shadow_connections,
            sends_copies=True,
        )
        return LiveInstance(spec, variant, pool, shadow_pool)

    def _make_ping_pool(self, instance: LiveInstance) -> Pool:
        spec = instance.spec
        limits = PoolLimits(
            max_connections=1,
            max_idle_s=self._settings.pool_idle_s,
            connect_time_limit_s=self._settings.connect_time_limit_s,
            time_limit_s=_PING_TIME_LIMIT_S,
            max_head_bytes=self._settings.max_head_bytes,
        )
        address = (spec.host, spec.port)
        return Pool(address, spec.keep_alive_s, limits, self._clock, self._outbox)

    def _pool_limits(self) -> PoolLimits:
        settings = self._settings
        return PoolLimits(
            max_connections=settings.max_connections_per_instance,
            max_idle_s=settings.pool_idle_s,
            connect_time_limit_s=settings.connect_time_limit_s,
            time_limit_s=settings.model_time_limit_s,
            max_head_bytes=settings.max_head_bytes,
            stream_time_limit_s=settings.stream_time_limit_s,
        )
