import importlib.metadata
import socket

import pytest

from gnomon.cli.facts import gather, packages
from gnomon.testing.certificates import local_tls


@pytest.fixture
def environ(tmp_path):
    return {
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "GNOMON_SERVER_PORT": "0",
        "GNOMON_SERVER_CONTROL_PORT": "0",
    }


def test_looking_makes_nothing(tmp_path, environ):
    facts = gather(tmp_path / "not" / "there", environ)
    assert list(tmp_path.iterdir()) == []
    assert not facts.directory.is_there
    assert facts.directory.nearest == tmp_path
    assert facts.directory.is_writable
    assert facts.service.state == "none"


def test_a_data_directory_as_it_is(tmp_path, environ):
    root = tmp_path / "d"
    root.mkdir()
    root.chmod(0o750)
    (root / "spool" / "I").mkdir(parents=True)
    (root / "spool" / "I" / "1.closed").write_bytes(b"x" * 1000)
    facts = gather(root, environ)
    assert facts.directory.is_there
    assert facts.directory.mode == 0o750
    assert facts.spool_bytes == 1000


def test_a_file_in_place_of_the_directory_is_no_traceback(tmp_path, environ):
    (tmp_path / "d").write_text("")
    facts = gather(tmp_path / "d", environ)
    assert not facts.directory.is_directory


def test_a_port_that_somebody_listens_on_is_taken(tmp_path, environ):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        facts = gather(tmp_path, {**environ, "GNOMON_SERVER_PORT": port})
    assert [(p.name, p.state) for p in facts.ports] == [("port", "taken"), ("control-port", "free")]
    assert facts.ports[0].address.endswith(port)


def test_a_setting_that_cannot_be_read_is_a_fact(tmp_path, environ):
    (tmp_path / "gnomon.toml").write_text("[server]\nport = 'many'\n")
    assert "server.port" in gather(tmp_path, environ).settings_error


def test_a_certificate_is_looked_at_with_its_key(tmp_path, environ):
    assert gather(tmp_path, environ).certificate is None
    pair = local_tls(tmp_path).pair
    named = {
        **environ,
        "GNOMON_TLS_CERTIFICATE_FILE": "tls/server.pem",
        "GNOMON_TLS_KEY_FILE": "tls/server-key.pem",
    }
    found = gather(tmp_path, named).certificate
    assert (found.file, found.ends_in_days, found.is_key_open) == (pair.certificate, 824, False)
    pair.key.chmod(0o640)
    assert gather(tmp_path, named).certificate.is_key_open
    pair.certificate.write_text("x")
    assert "not in PEM" in gather(tmp_path, named).certificate.failure
    pair.certificate.unlink()
    assert "No such file" in gather(tmp_path, named).certificate.failure


def test_packages_are_those_that_are_always_needed():
    found = packages(["rich>=14", "sqlalchemy[asyncio]>=2.0.40", "boto3>=1; extra == 'cli'"])
    assert [(p.name, p.wanted) for p in found] == [("rich", "14"), ("sqlalchemy", "2.0.40")]
    assert found[0].found == importlib.metadata.version("rich")
    assert packages(["no-such-package-of-gnomons>=1"])[0].found is None


def test_every_need_of_gnomon_is_understood():
    needs = [n for n in importlib.metadata.requires("gnomon") or [] if "extra ==" not in n]
    assert len(packages(needs)) == len(needs) > 10
