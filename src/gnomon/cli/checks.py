"""What `gnomon doctor` says: facts in, findings out. Pure.

`fail` is what keeps Gnomon from working, `warn` what will hurt under load or on a bad day. Whatever
is not well comes with what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from gnomon.cli.facts import Facts, Version

MIB = 1024**2
GIB = 1024**3
# SQLite that gives back the rows it wrote (RETURNING), and the write-ahead log without its early
# defects.
_SQLITE = (3, 35, 0)
# Beside Gnomon's own processes, some 400 MiB, this is little for two models, in bytes.
_LITTLE_MEMORY_BYTES = GIB
# A router may open 512 connections to each instance, and has one for each client: the usual soft
# limit of 1,024 is reached with two instances. Below the lower one Gnomon's databases, sockets and
# a handful of connections already do not fit.
_OPEN_FILES = 8192
_FEWEST_OPEN_FILES = 128
# A spool segment is 64 MiB, each router has one open, and captured objects add up, in bytes.
_LITTLE_SPACE_BYTES = 5 * GIB
# Four full segments: the collector is behind, not just busy, in bytes.
_BACKLOG_BYTES = 256 * MIB
# Enough to get another from whoever issues it, in days.
_NEAR_END_DAYS = 30
# SQLite's write-ahead log needs shared memory, and locks that hold, which these do not give.
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.s3fs")


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line: what is so, and, if it is not well, what to do."""

    level: Level
    about: str
    said: str

    @property
    def line(self) -> str:
        return f"{self.level:4}  {self.about:14}  {self.said}"


def findings(facts: Facts) -> list[Finding]:
    """All checks, in the order in which one would mend what they find."""
    return [finding for check in _CHECKS for finding in check(facts)]


def python(facts: Facts) -> Iterator[Finding]:
    said = f"Python {_text(facts.python)}, Gnomon {facts.version}"
    if facts.python < _version(facts.python_wanted):
        mend = f"Gnomon needs {facts.python_wanted} or newer: install it in such a one."
        yield Finding(Level.FAIL, "python", f"{said}. {mend}")
    else:
        yield Finding(Level.OK, "python", f"{said}.")


def packages(facts: Facts) -> Iterator[Finding]:
    wrong = [
        f"{package.name} {package.found or 'is missing'} (wanted: {package.wanted} or newer)"
        for package in facts.packages
        if package.found is None or _version(package.found) < _version(package.wanted)
    ]
    if wrong:
        mend = "Install Gnomon anew with pip, in an environment of its own."
        yield Finding(Level.FAIL, "packages", f"{', '.join(wrong)}. {mend}")
    else:
        yield Finding(Level.OK, "packages", f"All {len(facts.packages)} are as new as needed.")


def sqlite(facts: Facts) -> Iterator[Finding]:
    said = f"SQLite {_text(facts.sqlite)}"
    if facts.sqlite < _SQLITE:
        mend = f"Use a Python that is linked with {_text(_SQLITE)} or newer."
        yield Finding(Level.FAIL, "sqlite", f"{said} is too old. {mend}")
    else:
        yield Finding(Level.OK, "sqlite", f"{said}.")


def cores(facts: Facts) -> Iterator[Finding]:
    if facts.cores == 1:
        mend = "Latencies of production and shadow say little: take a machine with more."
        yield Finding(Level.WARN, "cores", f"One core for everything. {mend}")
    else:
        yield Finding(Level.OK, "cores", f"{facts.cores} cores.")


def memory(facts: Facts) -> Iterator[Finding]:
    available = _size(facts.memory_available_bytes)
    said = f"{available} of {_size(facts.memory_bytes)} are available"
    if facts.memory_available_bytes < _LITTLE_MEMORY_BYTES:
        mend = "Production and shadow are two models at once: end other programs."
        yield Finding(Level.WARN, "memory", f"Only {said}. {mend}")
    else:
        yield Finding(Level.OK, "memory", f"{said}.")


def open_files(facts: Facts) -> Iterator[Finding]:
    soft, hard = (limit if limit >= 0 else 1 << 62 for limit in facts.open_files)
    if soft >= _OPEN_FILES:
        yield Finding(Level.OK, "open files", "No process runs out of them soon.")
        return
    level = Level.FAIL if soft < _FEWEST_OPEN_FILES else Level.WARN
    mend = f"Run `ulimit -n {min(hard, 65_536)}` in the shell before `gnomon up`."
    if hard < _OPEN_FILES:
        mend += " For more an administrator has to raise the hard limit (limits.conf)."
    yield Finding(level, "open files", f"{soft} for each process are few for connections. {mend}")


def directory(facts: Facts) -> Iterator[Finding]:
    found = facts.directory
    where = str(found.path)
    elsewhere = "name another with --data-dir"
    if not found.is_directory:
        yield Finding(Level.FAIL, "data directory", f"{found.nearest} is a file: {elsewhere}.")
    elif not found.is_writable:
        said = f"{found.nearest} cannot be written by you"
        yield Finding(Level.FAIL, "data directory", f"{said}: change its owner, or {elsewhere}.")
    elif found.filesystem in _NETWORK:
        said = f"{where} is on {found.filesystem}, where SQLite may lose data"
        yield Finding(Level.WARN, "data directory", f"{said}: put it on a local disk.")
    elif found.mode is not None and found.mode & 0o022:
        said = f"Others can write to {where}, and what lies there runs as you"
        yield Finding(Level.FAIL, "data directory", f"{said}: chmod 700 {where}")
    elif found.mode is not None and found.mode & 0o055:
        said = f"Others can read {where}, captured requests included"
        yield Finding(Level.WARN, "data directory", f"{said}: chmod 700 {where}")
    else:
        said = "can be used" if found.is_there else "is not there yet and can be made"
        yield Finding(Level.OK, "data directory", f"{where} {said}.")


def space(facts: Facts) -> Iterator[Finding]:
    free = facts.directory.free_bytes
    said = f"{_size(free)} are free where the data directory is"
    mend = "Make room, or name a directory on another disk with --data-dir."
    if free < facts.min_free_bytes:
        floor = f"below {_size(facts.min_free_bytes)} nothing new begins and captures are dropped"
        yield Finding(Level.FAIL, "disk space", f"Only {said}, and {floor}. {mend}")
    elif free < _LITTLE_SPACE_BYTES:
        yield Finding(Level.WARN, "disk space", f"Only {said}. {mend}")
    else:
        yield Finding(Level.OK, "disk space", f"{said}.")


def settings(facts: Facts) -> Iterator[Finding]:
    if facts.settings_error:
        yield Finding(Level.FAIL, "settings", facts.settings_error)
    else:
        yield Finding(Level.OK, "settings", "They can be read.")


def certificate(facts: Facts) -> Iterator[Finding]:
    found = facts.certificate
    if found is None:
        return
    mend = "`gnomon tls init --renew` makes another, if it is one of Gnomon's own."
    if found.failure:
        said = f"{found.file} cannot be read ({found.failure}). {mend}"
        yield Finding(Level.FAIL, "certificate", said)
    elif found.ends_in_days < 0:
        yield Finding(Level.FAIL, "certificate", f"{found.file} has ended. {mend}")
    elif found.is_key_open:
        said = f"Others can read the key of {found.file}: chmod 600 it."
        yield Finding(Level.WARN, "certificate", said)
    else:
        is_near = found.ends_in_days < _NEAR_END_DAYS
        said = f"{found.file} ends in {found.ends_in_days} days."
        level = Level.WARN if is_near else Level.OK
        yield Finding(level, "certificate", f"{said} {mend}" if is_near else said)


def service(facts: Facts) -> Iterator[Finding]:
    found = facts.service
    if found.state == "none":
        said = f"None runs on {facts.directory.path}."
        yield Finding(Level.OK, "gnomon", said)
    elif found.state == "changing":
        said = "It is starting or ending. If it stays so, its log is where `gnomon up` runs."
        yield Finding(Level.WARN, "gnomon", said)
    elif found.answer_ms is None:
        yield Finding(Level.FAIL, "gnomon", found.failure)
    elif found.version != facts.version:
        said = f"Version {found.version} runs, {facts.version} is installed"
        mend = "`gnomon down` and `gnomon up` bring the new one up."
        yield Finding(Level.WARN, "gnomon", f"{said}. {mend}")
    else:
        yield Finding(Level.OK, "gnomon", f"It runs, and answered in {found.answer_ms:.0f} ms.")


def ports(facts: Facts) -> Iterator[Finding]:
    for port in facts.ports:
        if port.state == "ours":
            yield Finding(Level.OK, port.name, f"{port.address} is this Gnomon's.")
        elif port.state == "free":
            any_ = port.address.endswith(":0")
            said = "Any that is free will be taken." if any_ else f"{port.address} is free."
            yield Finding(Level.OK, port.name, said)
        elif facts.service.state == "changing":
            said = f"{port.address} is taken, perhaps by the Gnomon that starts or ends."
            yield Finding(Level.OK, port.name, said)
        else:
            said = f"Gnomon cannot listen on {port.address}: {port.reason}"
            mend = f"Name another with --{port.name} or in the settings."
            yield Finding(Level.FAIL, port.name, f"{said}. {mend}")


def spool(facts: Facts) -> Iterator[Finding]:
    said = f"{_size(facts.spool_bytes)} wait for the collector"
    if facts.service.state == "none" and facts.spool_bytes:
        yield Finding(Level.OK, "spool", f"{said}; the next `gnomon up` takes them over.")
    elif facts.spool_bytes > _BACKLOG_BYTES:
        mend = "It is behind, or fails: see what it says where `gnomon up` runs."
        yield Finding(Level.WARN, "spool", f"{said}. {mend}")
    else:
        yield Finding(Level.OK, "spool", f"{said}.")


def isolation(facts: Facts) -> Iterator[Finding]:
    found = facts.cgroup_controllers
    if found is None:
        said = "no cgroups of version 2"
    elif {"cpu", "memory"} <= set(found):
        said = "cgroups for cpu and memory can be made"
    else:
        said = "cgroups cannot be made by you"
    autogroup = "on" if facts.has_autogroup else "off"
    yield Finding(Level.OK, "isolation", f"Autogroup is {autogroup}, {said}.")


_CHECKS = (
    python,
    packages,
    sqlite,
    cores,
    memory,
    open_files,
    isolation,
    directory,
    space,
    settings,
    certificate,
    service,
    ports,
    spool,
)


def _version(text: str) -> Version:
    """Its numbers, as far as they go: 2.0.40 of 2.0.40rc1 too."""
    numbers = []
    for part in text.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _text(version: Version) -> str:
    return ".".join(map(str, version))


def _size(size_bytes: int) -> str:
    if size_bytes >= GIB:
        return f"{size_bytes / GIB:.1f} GiB"
    return f"{size_bytes / MIB:.0f} MiB"
