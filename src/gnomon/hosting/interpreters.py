"""Which Python runs a model: the one that settings name, or a virtual environment of its own.

A model with `code/requirements.txt` gets an environment that holds what the file lists and nothing
else, so that its numpy is its own: neither Gnomon's packages nor the named interpreter's are in it.
Environments are kept under `<data>/environments/<key>` and shared by all models whose file,
interpreter and source of packages are the same. Building is done beside control, by
`gnomon.hosting.environment_builder`; all that it says is in `<data>/logs/environments/<key>.log`.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from gnomon.errors import GnomonError
from gnomon.hosting import environment_builder
from gnomon.hosting.session import Leader, boot_id, kill_session_of, stat
from gnomon.settings import HostingSettings

# What tells one Python from another: environments of two are never interchangeable.
_IDENTIFY = "import os, sys; print(sys.version, os.path.realpath(sys.executable))"

# A Python needs some 30 ms to say who it is; a busy machine may need far longer.
_IDENTIFY_TIME_LIMIT_S = 30.0

# How often a lock that somebody else holds, or a session that is ending, is looked at.
_LOOK_S = 0.1

# How much of pip's complaint goes into a reason. SageMaker bounds a FailureReason at 1,024
# characters, and there are a sentence and a path around it.
_MAX_COMPLAINT_LINES = 3
_MAX_COMPLAINT_CHARACTERS = 600

# A requirement that is a file of the model, or lists one: no web address, but an option of pip's
# for files, or a path.
_REFERS_TO_FILES = re.compile(
    rb"^\s*(-[rcef]|--(requirement|constraint|editable|find-links)\b|file:|[^\s#@]*/|\.)"
    rb"|@\s*file:|\.(whl|zip|tar\.gz)\s*($|;|#)",
    re.MULTILINE,
)

_LOG = structlog.get_logger(__name__)


class InterpreterUnusable(GnomonError):
    """A Python that settings name and that does not run."""

    def __init__(self, interpreter: str, reason: str) -> None:
        self.interpreter = interpreter
        self.reason = reason
        super().__init__(
            f'The interpreter "{interpreter}" cannot run models: {reason}. Settings name it: '
            "hosting.interpreter, or [hosting.interpreters]."
        )


class EnvironmentNotBuilt(GnomonError):
    """What code/requirements.txt asks for could not be installed."""

    def __init__(self, reason: str, log: Path) -> None:
        self.reason = reason
        self.log = log
        super().__init__(
            f"The environment for code/requirements.txt could not be built: {reason} "
            f"(all that was said is in {log})"
        )


@dataclass(frozen=True)
class Interpreters:
    """Finds or makes the interpreter of a model. `environ` is Gnomon's own environment."""

    data_dir: Path
    settings: HostingSettings
    environ: Mapping[str, str]

    async def interpreter_for(self, model_dir: Path, named: str, say: Callable[[str], None]) -> str:
        """The Python to run the model in `model_dir` with; `named` is the one for its image, or "".

        `say` is told what takes long. Raises InterpreterUnusable or EnvironmentNotBuilt. May be
        called at the same time for the same environment: one builds, the others wait. A caller that
        is cancelled leaves no process behind.
        """
        interpreter = _found(named or self.settings.interpreter or sys.executable)
        requirements = model_dir / "code" / "requirements.txt"
        text = await asyncio.to_thread(_read, requirements)
        if text is None:
            return interpreter
        identity = await asyncio.to_thread(_identify, interpreter, self._environment())
        wheels = str(Path(self.settings.wheels).absolute()) if self.settings.wheels else ""
        key = key_of(text, identity, wheels, str(model_dir))
        home = self.data_dir / "environments" / key
        log = self.data_dir / "logs" / "environments" / f"{key}.log"
        try:
            if not _is_whole(home):
                home.parent.mkdir(parents=True, exist_ok=True)
                log.parent.mkdir(parents=True, exist_ok=True)
                say(f"building its environment: {log} shows the progress")
                async with _locked(home.with_suffix(".lock")) as lock:
                    # Whoever held the lock may have built it.
                    if not _is_whole(home):
                        await self._build(home, log, interpreter, requirements, wheels, lock)
        except OSError as error:
            raise EnvironmentNotBuilt(f"{error}.", log) from error
        return str(_python(home))

    async def _build(
        self, home: Path, log: Path, interpreter: str, requirements: Path, wheels: str, lock: int
    ) -> None:
        if wheels and not Path(wheels).is_dir():
            raise EnvironmentNotBuilt(f"hosting.wheels names {wheels}, which is no directory.", log)
        limit_s = self.settings.environment_time_limit_s
        _LOG.info("building an environment", environment=home.name, log=str(log))
        with log.open("ab") as output:
            began_at = output.tell()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", environment_builder.__file__),
                *(str(home), str(limit_s), str(lock), str(requirements.parent), interpreter),
                *_pip_arguments(requirements, wheels),
                env=self._environment(),
                # Its end tells the builder that control has died.
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
            )
            status = await _ended(process)
        if status == 0:
            _LOG.info("built an environment", environment=home.name)
            return
        if status == environment_builder.EXIT_TIMED_OUT:
            raise EnvironmentNotBuilt(f"it took longer than {limit_s:g} s.", log)
        with log.open("rb") as said:
            said.seek(began_at)
            raise EnvironmentNotBuilt(complaint_of(said.read().decode(errors="replace")), log)

    def _environment(self) -> dict[str, str]:
        """The environment of venv and pip: Gnomon's own, so that its user's pip settings hold.

        Without what would lead another Python to Gnomon's packages; offline, without what would
        lead pip elsewhere than to the wheels.
        """
        dropped = ("PYTHON", "GNOMON_", "PIP_") if self.settings.wheels else ("PYTHON", "GNOMON_")
        kept = {name: text for name, text in self.environ.items() if not name.startswith(dropped)}
        return kept | ({"PIP_CONFIG_FILE": os.devnull} if self.settings.wheels else {})


def key_of(requirements: bytes, identity: str, wheels: str, model: str) -> str:
    """The name of an environment: its content's, as far as that is said anywhere.

    `model` counts only if the requirements refer to files, which are the model's own.
    """
    files = model if _REFERS_TO_FILES.search(requirements) else ""
    parts = (requirements, identity.encode(), wheels.encode(), files.encode())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def complaint_of(output: str) -> str:
    """The gist of what a failed build said: pip's last errors, else the last lines."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines
    return " ".join(errors[-_MAX_COMPLAINT_LINES:])[-_MAX_COMPLAINT_CHARACTERS:]


def _pip_arguments(requirements: Path, wheels: str) -> tuple[str, ...]:
    return (
        *("install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"),
        *(("--no-index", "--find-links", wheels) if wheels else ()),
        *("--requirement", str(requirements)),
    )


def _found(interpreter: str) -> str:
    """The interpreter by its whole path: an instance starts in a directory of its own."""
    found = shutil.which(interpreter)
    if found is None:
        raise InterpreterUnusable(interpreter, "there is no such program")
    # Links stay: through one of them a virtual environment knows itself.
    return str(Path(found).absolute())


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _identify(interpreter: str, environ: Mapping[str, str]) -> str:
    try:
        return subprocess.run(
            (interpreter, "-I", "-S", "-c", _IDENTIFY),
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_IDENTIFY_TIME_LIMIT_S,
            check=True,
            text=True,
        ).stdout
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise InterpreterUnusable(interpreter, f"it is no Python that runs ({error})") from error


def _python(home: Path) -> Path:
    return home / "bin" / "python"


def _is_whole(home: Path) -> bool:
    # The interpreter is a link, to one that may have been uninstalled since.
    return (home / environment_builder.MARKER).exists() and _python(home).exists()


@contextlib.asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[int]:
    """Hold the lock; the value is its descriptor. Who waits can be cancelled."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(_LOOK_S)
            else:
                break
        yield descriptor
    finally:
        os.close(descriptor)


async def _ended(process: asyncio.subprocess.Process) -> int:
    """The builder's exit status, when nothing of its session is left: at once if cancelled."""
    found = stat(process.pid)
    try:
        return await process.wait()
    finally:
        if found is not None:
            leader = Leader(process.pid, found.start_ticks, boot_id(), token="")
            while not kill_session_of(leader):
                await asyncio.sleep(_LOOK_S)
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()
