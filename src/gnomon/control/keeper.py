"""Carries out what planners decide about instances, and records what became of them.

One task a live instance: it starts or adopts it, asks after its health, and sees it end. Its
counterparts are the host, which runs processes, and the reconciler, which decides. Every change is
a row; what is held here besides can be lost at any moment and is found again from the rows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog

from gnomon.control.call import move_instance
from gnomon.control.transactions import Transactions
from gnomon.errors import GnomonError, MachineExhausted, ModelDataUnavailable, exhaustion
from gnomon.hosting.health import ping
from gnomon.hosting.host import Exited, Host, InstanceSpec, Started
from gnomon.hosting.images import ModelServer, runtime_of
from gnomon.hosting.servers import External
from gnomon.model.clock import Clock
from gnomon.model.lifecycle import LIVE_INSTANCE
from gnomon.model.records import InstanceRecord
from gnomon.model.snapshot import Instance
from gnomon.model.spec import VariantSpec
from gnomon.settings import HostingSettings
from gnomon.store.state.instances import get_instance, put_instance

# A start is asked after often, so that an endpoint is InService soon after its model is ready.
_STARTING_PING_INTERVAL_S = 0.1
# DESIGN.md rule 6: three failed pings in a row.
_PINGS_TO_FAIL = 3
# How long routers have to leave an instance that is to end at once, in seconds: they are told
# within some milliseconds, and most of what is in flight is answered. What it takes of memory
# meanwhile is a fifth of what it took since the look before (`gnomon.control.memory_watch`).
_LEAVE_S = 0.2
# How long an instance is left alone when the machine has run out of something, in seconds.
_EXHAUSTED_REST_S = 1.0

# Nothing of an instance is left then.
_ENDED = ("Stopped", "Failed")
# Why an instance was stopped.
_NOT_WANTED = "no longer wanted"

_LOG = structlog.get_logger(__name__)

_Work = Callable[[InstanceRecord, asyncio.Event], Awaitable[None]]
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class KeeperParts:
    """What the keeper works with.

    `prepare` turns an archive's URL (or none), which is read with a role (or none), into a
    directory, in memory for an instance (by id) whose storage volume has a key, and `discard` gives
    that memory back; `interpreter_for` turns the directory and the interpreter named for its image
    (or "") into the one to run it with, and tells its last argument what takes long. `threads` says
    how many an instance of a type may start.
    """

    transactions: Transactions
    host: Host
    prepare: Callable[[str | None, str, str | None], Awaitable[Path]]
    discard: Callable[[str], None]
    interpreter_for: Callable[[Path, str, Callable[[str], None]], Awaitable[str]]
    settings: HostingSettings
    threads: Callable[[str], int]
    clock: Clock
    wake: Callable[[str], None]


class InstanceKeeper:
    """Owns one task for each instance that lives; control's reconciler owns it.

    A task is asked to leave and never cancelled: a transaction that is cut off half-way keeps its
    connection, and with it the database's lock.
    """

    def __init__(self, parts: KeeperParts) -> None:
        self._parts = parts
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, asyncio.Event] = {}
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._kept: dict[str, InstanceRecord] = {}
        # By id: why an instance is being ended at once.
        self._condemned: dict[str, str] = {}
        self._notes: set[asyncio.Task[None]] = set()

    def begin(self, record: InstanceRecord) -> None:
        """Starts an instance whose intent has been written."""
        self._spawn(record, self._start)

    async def resume(self, record: InstanceRecord) -> None:
        """Takes up an instance that an earlier control has left, if it still runs."""
        runs = await self._parts.host.adopt(record.id)
        if record.status == "Failing":
            self._spawn(record, self._put_down)
        elif not runs:
            # Nobody saw it end: that is no failure, and does not fail a change under way.
            was_told = record.status == "Stopping"
            reason = _NOT_WANTED if was_told else "gone when control came back"
            await self._move(record.id, "Stopped", reason, LIVE_INSTANCE)
        elif record.status == "Pending" or record.address is None:
            # Its launcher was under way: start() answers where it is.
            self._spawn(record, self._start)
        elif record.status in {"Starting", "InService"}:
            _LOG.info("instance adopted", instance=record.id, status=record.status)
            self._spawn(record, self._watch)

    def keeps(self, instance_id: str) -> bool:
        """Whether a task sees to the instance."""
        return instance_id in self._tasks or instance_id in self._stopping

    def kept(self) -> list[InstanceRecord]:
        """Instances that a task watches, each as it was when its task began."""
        return list(self._kept.values())

    async def condemn(self, instance_id: str, reason: str) -> None:
        """Ends an instance that takes from the others what they need: without asking it, and
        whether its row can be written or not. Who sees its end has the reason.
        """
        if instance_id not in self._tasks:
            return
        self._condemned[instance_id] = reason
        noting = asyncio.create_task(
            self._move(instance_id, "Failing", reason, ("Pending", "Starting", "InService"))
        )
        await asyncio.sleep(_LEAVE_S)
        await self._parts.host.stop(instance_id, at_once=True)
        await noting
        await self._move(instance_id, "Failed", None, ("Failing",))

    def stop(self, instance_id: str, endpoint_id: str) -> None:
        """Ends an instance that no router uses any more."""
        if instance_id not in self._stopping:
            task = asyncio.create_task(self._stop_if_possible(instance_id, endpoint_id))
            self._stopping[instance_id] = task
            task.add_done_callback(lambda _: self._stopping.pop(instance_id, None))

    async def stop_everything(self, records: list[InstanceRecord]) -> None:
        """Ends all of these at once: Gnomon is going down."""
        for leave in self._leaving.values():
            leave.set()
        await asyncio.gather(*(self._parts.host.stop(record.id) for record in records))
        await self.close()
        for record in records:
            await self._discard(record)

    async def close(self) -> None:
        """Lets go of every task. Instances run on; those that are being stopped are waited for."""
        await self._leave_all()
        await asyncio.gather(*self._stopping.values())

    async def _leave_all(self) -> None:
        for leave in self._leaving.values():
            leave.set()
        await asyncio.gather(*self._tasks.values())
        await asyncio.gather(*self._notes)

    def _spawn(self, record: InstanceRecord, work: _Work) -> None:
        leave = asyncio.Event()

        async def guarded() -> None:
            try:
                await self._patiently(record, leave, work)
            except Exception:  # noqa: BLE001 - an instance's task ends here
                _LOG.exception("keeping an instance failed", instance=record.id)
                await self._give_up(record)

        task = asyncio.create_task(guarded())
        self._tasks[record.id] = task
        self._leaving[record.id] = leave
        self._kept[record.id] = record
        task.add_done_callback(lambda _: self._forget(record.id))

    async def _patiently(self, record: InstanceRecord, leave: asyncio.Event, work: _Work) -> None:
        """Does the work again as long as it is the machine that is out of something: that is no
        reason to end an instance. All work may be repeated.
        """
        said = ""
        while True:
            try:
                await work(record, leave)
            except Exception as error:
                exhausted = exhaustion(error)
                if exhausted is None:
                    raise
                if str(exhausted) != said:
                    said = str(exhausted)
                    _LOG.warning("an instance has to wait", instance=record.id, reason=said)
            else:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(leave.wait(), _EXHAUSTED_REST_S)
                return

    def _forget(self, instance_id: str) -> None:
        self._tasks.pop(instance_id, None)
        self._leaving.pop(instance_id, None)
        self._kept.pop(instance_id, None)
        self._condemned.pop(instance_id, None)

    async def _start(self, record: InstanceRecord, leave: asyncio.Event) -> None:
        try:
            started = await unless(leave, self._launch(record))
        except ModelDataUnavailable as error:
            await self._ended(record.id, _download_failure(error))
            return
        except MachineExhausted:
            raise
        except GnomonError as error:
            await self._ended(record.id, str(error))
            return
        if started is None:
            return
        address = Instance(
            id=record.id,
            host=started.host,
            port=started.port,
            keep_alive_s=started.keep_alive_s,
            ping_path=started.ping_path,
            invocation_path=started.invocation_path,
            headers=started.headers,
        )
        changed = await self._move(record.id, "Starting", "", ("Pending",), address=address)
        if changed is not None:
            await self._patiently(changed, leave, self._watch)

    async def _launch(self, record: InstanceRecord) -> Started:
        container = record.spec.container
        settings = self._parts.settings
        runtime = runtime_of(
            container.image, settings.images, settings.interpreters, external=settings.external
        )
        # A server that runs already has its model.
        url = None if isinstance(runtime, External) else container.model_data_url
        model_dir = await self._prepare(record, url)
        if isinstance(runtime, ModelServer):
            runtime = ModelServer(
                await self._parts.interpreter_for(
                    model_dir, runtime.interpreter, lambda text: self._note(record.id, text)
                )
            )
        return await self._parts.host.start(
            InstanceSpec(
                instance_id=record.id,
                endpoint_name=record.endpoint_name,
                variant_name=record.variant_name,
                runtime=runtime,
                model_dir=model_dir,
                environment=container.environment,
                threads=self._parts.threads(record.spec.instance_type),
                count=record.spec.count,
                group=f"{record.variant_id} {record.fingerprint}",
                light=record.light,
            )
        )

    async def _prepare(self, record: InstanceRecord, url: str | None) -> Path:
        in_memory_of = record.id if record.spec.kms_key else None
        time_limit_s = record.spec.download_time_limit_s
        try:
            async with asyncio.timeout(time_limit_s):
                return await self._parts.prepare(url, record.spec.role_arn, in_memory_of)
        except TimeoutError as error:
            raise ModelDataUnavailable(
                url or "", f"it was not there within {time_limit_s:.0f} s."
            ) from error

    def _note(self, instance_id: str, text: str) -> None:
        """Shows why an instance is still Pending. A task of its own: `_launch` may be cancelled."""
        task = asyncio.create_task(self._write_note(instance_id, text))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _write_note(self, instance_id: str, text: str) -> None:
        try:
            async with self._parts.transactions.call() as call:
                record = await get_instance(call.connection, instance_id)
                if record is not None and record.status == "Pending":
                    noted = msgspec.structs.replace(record, reason=text)
                    await put_instance(call.connection, noted)
        except Exception as error:  # noqa: BLE001 - the task ends here; nothing else is lost
            if exhaustion(error) is None:
                _LOG.exception("noting what an instance waits for failed", instance=instance_id)

    async def _watch(self, record: InstanceRecord, leave: asyncio.Event) -> None:
        """Until the instance has ended or failed, or the task is to leave."""
        clock = self._parts.clock
        began_s = clock.monotonic_s()
        limit_s = record.spec.startup_time_limit_s or self._parts.settings.startup_time_limit_s
        healthy = record.status == "InService"
        failed_pings = 0
        while not leave.is_set():
            if isinstance(await self._parts.host.observe(record.id), Exited):
                seen = "exited" if healthy else _ping_failure(record.spec)
                await self._ended(record.id, self._condemned.get(record.id, seen))
                return
            assert record.address is not None, "a started instance has an address"
            well = await ping(
                record.address.host,
                record.address.port,
                record.address.ping_path,
                self._parts.settings.ping_time_limit_s,
                record.address.headers,
            )
            failed_pings = 0 if well else failed_pings + 1
            if well and not healthy:
                healthy = True
                await self._move(record.id, "InService", "", ("Starting",))
            if not healthy and clock.monotonic_s() - began_s > limit_s:
                await self._fail(record, _ping_failure(record.spec))
                return
            if healthy and failed_pings >= _PINGS_TO_FAIL:
                await self._fail(record, f"{_PINGS_TO_FAIL} pings in a row failed")
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    leave.wait(),
                    self._parts.settings.ping_interval_s if healthy else _STARTING_PING_INTERVAL_S,
                )

    async def _fail(self, record: InstanceRecord, reason: str) -> None:
        """Ends an instance that runs and is of no use. Its row says so until nothing is left."""
        await self._move(record.id, "Failing", reason, ("Pending", "Starting", "InService"))
        await self._put_down(record, asyncio.Event())

    async def _put_down(self, record: InstanceRecord, _leave: asyncio.Event) -> None:
        await self._parts.host.stop(record.id)
        await self._move(record.id, "Failed", None, ("Failing",))

    async def _give_up(self, record: InstanceRecord) -> None:
        """If this fails as well, the loop finds a row that nobody keeps, and tries again."""
        try:
            await self._fail(record, "Gnomon failed to keep this instance; see its log.")
        except Exception:  # noqa: BLE001 - as above
            _LOG.exception("giving an instance up failed", instance=record.id)

    async def _stop_if_possible(self, instance_id: str, endpoint_id: str) -> None:
        """If it fails, the row says that the instance is still to be stopped: the loop will ask."""
        try:
            await self._stop(instance_id, endpoint_id)
        except Exception as error:  # noqa: BLE001 - the task ends here
            exhausted = exhaustion(error)
            if exhausted is None:
                _LOG.exception("stopping an instance failed", instance=instance_id)
            await asyncio.sleep(_EXHAUSTED_REST_S)

    async def _stop(self, instance_id: str, endpoint_id: str) -> None:
        await self._move(instance_id, "Stopping", "", ("Draining",))
        if instance_id in self._tasks:
            self._leaving[instance_id].set()
            await self._tasks[instance_id]
        await self._parts.host.stop(instance_id)
        await self._move(instance_id, "Stopped", _NOT_WANTED, ("Stopping",))
        self._parts.wake(endpoint_id)

    async def _ended(self, instance_id: str, reason: str) -> None:
        """Failed if it was wanted, Stopped if it was on its way out."""
        failed = await self._move(
            instance_id, "Failed", reason, ("Pending", "Starting", "InService")
        )
        if failed is None:
            await self._move(instance_id, "Stopped", reason, ("Draining", "Stopping"))

    async def _move(
        self,
        instance_id: str,
        status: str,
        reason: str | None,
        only_from: tuple[str, ...],
        **changes: Instance,
    ) -> InstanceRecord | None:
        """Changes the row if its status is one of `only_from`; None if it is not.

        A None reason leaves the one that is there.
        """
        async with self._parts.transactions.call() as call:
            record = await get_instance(call.connection, instance_id)
            if record is None or record.status not in only_from:
                return None
            said = record.reason if reason is None else reason
            record = await move_instance(call, record, status, said, **changes)
        if status in _ENDED:
            await self._discard(record)
        self._parts.wake(record.endpoint_id)
        return record

    async def _discard(self, record: InstanceRecord) -> None:
        if record.spec.kms_key:
            await asyncio.to_thread(self._parts.discard, record.id)


async def unless(leave: asyncio.Event, work: Coroutine[Any, Any, _Result]) -> _Result | None:
    """What `work` returns, or None if `leave` is set first: then the work is cancelled."""
    doing, leaving = asyncio.create_task(work), asyncio.create_task(leave.wait())
    try:
        await asyncio.wait((doing, leaving), return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        return None
    finally:
        for task in (doing, leaving):
            task.cancel()
        await asyncio.gather(doing, leaving, return_exceptions=True)


def _ping_failure(variant: VariantSpec) -> str:
    return (
        f"The primary container for production variant {variant.name} did not pass the ping "
        "health check. Please check CloudWatch logs for this endpoint."
    )


def _download_failure(error: ModelDataUnavailable) -> str:
    return (
        f'Failed to download model data for container "container_1" from URL: "{error.url}". '
        "Please ensure that there is an object located at the URL and that the role passed to "
        f"CreateModel has permissions to download the object. ({error.reason})"
    )
