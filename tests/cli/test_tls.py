import ssl
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from gnomon.cli.environment import aws_environment
from gnomon.cli.running import Running
from gnomon.cli.tls import AlreadyThere, init
from gnomon.cli.trust import NothingToTrust, trust
from gnomon.errors import DataDirectoryError
from gnomon.model.layout import Layout
from gnomon.testing.certificates import local_tls

NOW = datetime.now(UTC)


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "d")


def read(layout):
    return {path.name: path.read_bytes() for path in layout.tls.iterdir()}


def certificate(layout, name="server.pem"):
    return x509.load_pem_x509_certificate((layout.tls / name).read_bytes())


def names_of(found):
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    dns = names.get_values_for_type(x509.DNSName)
    return [*dns, *map(str, names.get_values_for_type(x509.IPAddress))]


def test_what_is_made_is_its_owners_alone(layout):
    init(layout, "127.0.0.1", NOW, renew=False)
    assert sorted(read(layout)) == ["ca-key.pem", "ca.pem", "server-key.pem", "server.pem"]
    for path in (layout.root, layout.tls, *layout.tls.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("127.0.0.1", ["localhost", "127.0.0.1", "::1"]),
        ("127.0.0.9", ["localhost", "127.0.0.1", "::1", "127.0.0.9"]),
        ("gnomon.example", ["localhost", "gnomon.example", "127.0.0.1", "::1"]),
    ],
)
def test_the_certificate_is_for_loopback_and_the_host_of_the_settings(layout, host, names):
    init(layout, host, NOW, renew=False)
    assert names_of(certificate(layout)) == names


def test_what_is_there_is_replaced_only_when_that_is_said(layout):
    init(layout, "localhost", NOW, renew=False)
    before = read(layout)
    with pytest.raises(AlreadyThere, match="`gnomon tls init --renew` replaces it"):
        init(layout, "localhost", NOW, renew=False)
    assert read(layout) == before
    init(layout, "localhost", NOW, renew=True)
    after = read(layout)
    changed = {name for name in after if after[name] != before[name]}
    # Clients know the authority, and go on to.
    assert changed == {"server.pem", "server-key.pem"}
    certificate(layout).verify_directly_issued_by(certificate(layout, "ca.pem"))


@pytest.mark.parametrize("spoil", ["old", "no key", "another key"])
def test_an_authority_that_cannot_issue_any_more_is_followed_by_another(layout, spoil):
    init(layout, "localhost", NOW, renew=False)
    before, now = read(layout)["ca.pem"], NOW
    if spoil == "old":
        now += timedelta(days=3650 - 824)
    elif spoil == "no key":
        (layout.tls / "ca-key.pem").unlink()
    else:
        (layout.tls / "server-key.pem").rename(layout.tls / "ca-key.pem")
    init(layout, "localhost", now, renew=True)
    assert read(layout)["ca.pem"] != before
    certificate(layout).verify_directly_issued_by(certificate(layout, "ca.pem"))


def test_a_directory_that_cannot_be_written_is_named(layout):
    layout.root.parent.joinpath("d").write_text("a file")
    with pytest.raises(DataDirectoryError, match="name another with --data-dir"):
        init(layout, "localhost", NOW, renew=False)


def test_the_command_says_what_to_set(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "gnomon.app.main", "tls", "init", "--data-dir", str(tmp_path / "d")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert '  [tls]\n  certificate_file = "tls/server.pem"\n' in done.stdout
    assert str(tmp_path / "d" / "gnomon.toml") in done.stdout


def running(tls, **more):
    files = {"certificate_file": str(tls.pair.certificate), "ca_file": str(tls.ca_file), **more}
    return Running("https://u", "https://c", 1, "r", "a", "/d", "v", 4.0, (), **files)


def shaken(client, tls):
    """Whether a client with this context takes the certificate."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(tls.pair.certificate, tls.pair.key)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, there)
    answering = server_context.wrap_bio(there, back, server_side=True)
    for _ in range(3):
        for side in (asking, answering):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return True


@pytest.mark.parametrize("missing", [{}, {"ca_file": ""}, {"certificate_file": "/none"}])
def test_commands_know_gnomon_by_its_certificate_or_its_authority(tmp_path, missing):
    tls, stranger = local_tls(tmp_path), local_tls(tmp_path / "other")
    context = trust(running(tls, **missing))
    assert shaken(context, tls)
    assert not shaken(context, stranger)


def test_what_stands_behind_the_certificate_is_not_trusted(tmp_path):
    tls, other = local_tls(tmp_path), local_tls(tmp_path / "other")
    with tls.pair.certificate.open("ab") as file:
        file.write(other.ca_file.read_bytes())
    context = trust(running(tls, ca_file=""))
    assert shaken(context, tls)
    assert not shaken(context, other)


def test_with_nothing_to_trust_nobody_is_asked(tmp_path):
    tls = local_tls(tmp_path)
    tls.pair.certificate.write_text("x")
    with pytest.raises(NothingToTrust, match="put a sound one there"):
        trust(running(tls, ca_file=""))


def test_the_environment_names_the_authority_where_there_is_one(tmp_path):
    tls = local_tls(tmp_path)
    assert aws_environment(running(tls))["AWS_CA_BUNDLE"] == str(tls.ca_file)
    assert "AWS_CA_BUNDLE" not in aws_environment(running(tls, ca_file=""))
