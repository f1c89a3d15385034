"""What doctor says of which facts."""

from dataclasses import replace
from pathlib import Path

import pytest

from gnomon.cli.checks import Level, findings
from gnomon.cli.facts import Directory, Facts, Package, Port, Service, ShownCertificate

GIB = 1024**3
DIRECTORY = Directory(
    path=Path("/d"),
    is_there=True,
    nearest=Path("/d"),
    is_directory=True,
    is_writable=True,
    mode=0o700,
    free_bytes=100 * GIB,
    filesystem="ext4",
)
WELL = Facts(
    python=(3, 11, 2),
    python_wanted="3.11",
    version="1.0",
    packages=(Package("one", "1.2", "1.10.0"),),
    sqlite=(3, 40, 1),
    cores=4,
    memory_bytes=8 * GIB,
    memory_available_bytes=4 * GIB,
    open_files=(65_536, 65_536),
    directory=DIRECTORY,
    min_free_bytes=GIB // 2,
    settings_error="",
    certificate=ShownCertificate(Path("/d/c.pem"), 100),
    ports=(Port("port", "127.0.0.1:8500", "free"),),
    service=Service("none"),
    spool_bytes=0,
    has_autogroup=False,
    cgroup_controllers=("cpu", "memory"),
)


def test_a_machine_that_is_well():
    assert {finding.level for finding in findings(WELL)} == {Level.OK}


def a_directory(**changes):
    return {"directory": replace(DIRECTORY, **changes)}


def a_port(state, reason=""):
    return {"ports": (Port("port", "127.0.0.1:8500", state, reason),)}


def a_certificate(*facts, **more):
    return {"certificate": ShownCertificate(Path("/d/c.pem"), *facts, **more)}


@pytest.mark.parametrize(
    ("changes", "level", "about", "said"),
    [
        ({"python": (3, 10, 9)}, "fail", "python", "needs 3.11 or newer"),
        ({"packages": (Package("one", "1.2", None),)}, "fail", "packages", "one is missing"),
        ({"packages": (Package("one", "1.10", "1.9.9"),)}, "fail", "packages", "one 1.9.9"),
        ({"packages": (Package("one", "1.2", "1.2rc1"),)}, "ok", "packages", "All 1"),
        ({"sqlite": (3, 34, 1)}, "fail", "sqlite", "3.35.0 or newer"),
        ({"cores": 1}, "warn", "cores", "take a machine with more"),
        ({"memory_available_bytes": GIB - 1}, "warn", "memory", "end other programs"),
        ({"open_files": (1024, 1048576)}, "warn", "open files", "ulimit -n 65536"),
        ({"open_files": (1024, 4096)}, "warn", "open files", "ulimit -n 4096"),
        ({"open_files": (1024, 4096)}, "warn", "open files", "limits.conf"),
        ({"open_files": (64, -1)}, "fail", "open files", "ulimit -n 65536"),
        ({"open_files": (-1, -1)}, "ok", "open files", ""),
        (a_directory(is_directory=False), "fail", "data directory", "is a file"),
        (a_directory(is_writable=False), "fail", "data directory", "cannot be written"),
        (a_directory(mode=0o777), "fail", "data directory", "chmod 700 /d"),
        (a_directory(mode=0o755), "warn", "data directory", "chmod 700 /d"),
        (a_directory(mode=None, is_there=False), "ok", "data directory", "can be made"),
        (a_directory(filesystem="nfs4"), "warn", "data directory", "local disk"),
        (a_directory(free_bytes=GIB), "warn", "disk space", "Make room"),
        (a_directory(free_bytes=1), "fail", "disk space", "Make room"),
        ({"settings_error": "x is wrong."}, "fail", "settings", "x is wrong."),
        (a_certificate(failure="no"), "fail", "certificate", "/d/c.pem cannot be read (no)"),
        (a_certificate(-1), "fail", "certificate", "has ended. `gnomon tls init --renew`"),
        (a_certificate(29), "warn", "certificate", "ends in 29 days. `gnomon tls init --renew`"),
        (a_certificate(30), "ok", "certificate", "ends in 30 days."),
        (a_certificate(30, is_key_open=True), "warn", "certificate", "chmod 600"),
        ({"service": Service("changing")}, "warn", "gnomon", "starting or ending"),
        ({"service": Service("runs", "1.0", failure="No.")}, "fail", "gnomon", "No."),
        ({"service": Service("runs", "0.9", 3.0)}, "warn", "gnomon", "0.9 runs, 1.0 is installed"),
        ({"service": Service("runs", "1.0", 3.0)}, "ok", "gnomon", "3 ms"),
        (a_port("taken", "Address in use"), "fail", "port", "Address in use. Name another"),
        (a_port("ours"), "ok", "port", "this Gnomon's"),
        ({**a_port("taken"), "service": Service("changing")}, "ok", "port", "perhaps"),
        ({"spool_bytes": GIB}, "ok", "spool", "next `gnomon up`"),
        (
            {"spool_bytes": GIB, "service": Service("runs", "1.0", 3.0)},
            "warn",
            "spool",
            "It is behind",
        ),
        ({"cgroup_controllers": None}, "ok", "isolation", "no cgroups"),
        ({"cgroup_controllers": ()}, "ok", "isolation", "cannot be made by you"),
    ],
)
def test_what_is_not_well_is_said_with_what_to_do(changes, level, about, said):
    (finding,) = (f for f in findings(replace(WELL, **changes)) if f.about == about)
    assert finding.level == level
    assert said in finding.said
    assert "\n" not in finding.line
