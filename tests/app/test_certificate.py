import asyncio
import shutil
import ssl

import pytest
from cryptography.hazmat.primitives import serialization

from gnomon.app import certificate as certificates
from gnomon.app.certificate import Certificate, CertificateUnusable
from gnomon.errors import SettingsError
from gnomon.settings import Settings, TlsSettings
from gnomon.testing.certificates import local_tls
from gnomon.testing.raw_http import RawClient, invocation
from gnomon.testing.router_rig import running_router


@pytest.fixture
def tls(tmp_path):
    return local_tls(tmp_path)


def test_without_a_certificate_there_is_no_tls(tmp_path):
    assert certificates.files(Settings(tmp_path)) is None


def test_paths_begin_at_the_data_directory(tmp_path):
    named = TlsSettings(certificate_file="tls/server.pem", key_file="/etc/key.pem")
    pair = certificates.files(Settings(tmp_path, tls=named))
    assert (str(pair.certificate), str(pair.key)) == (
        f"{tmp_path}/tls/server.pem",
        "/etc/key.pem",
    )


@pytest.mark.parametrize("half", ["certificate_file", "key_file"])
def test_half_a_pair_is_refused(tmp_path, half):
    with pytest.raises(SettingsError, match="set both, or neither"):
        certificates.files(Settings(tmp_path, tls=TlsSettings(**{half: "x"})))


def encrypt(path):
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda tls: tls.pair.certificate.unlink(), "No such file"),
        (lambda tls: tls.pair.key.unlink(), "No such file"),
        (lambda tls: tls.pair.certificate.write_text("no"), "not in PEM"),
        (lambda tls: shutil.copy(tls.ca_file, tls.pair.key), "not in PEM"),
        (
            lambda tls: shutil.copy(tls.directory / "ca-key.pem", tls.pair.key),
            "another certificate",
        ),
        (lambda tls: encrypt(tls.pair.key), "encrypted"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_to_do(tls, spoil, said):
    spoil(tls)
    with pytest.raises(CertificateUnusable, match=rf"{said}.*`gnomon tls init`") as refused:
        certificates.load(tls.pair)
    assert str(refused.value).count("\n") == 0


async def shown(port, tls):
    """The serial number of the certificate that a new connection is shown."""
    async with RawClient(port, tls.client()) as client:
        assert (await client.ask(invocation("none"))).status == 400
        return client.writer.get_extra_info("peercert")["serialNumber"]


class Served:
    def __init__(self, tls, certificate):
        self.tls = tls
        self.certificate = certificate
        self.pair = tls.pair

    def cover(self, protocol):
        return self.certificate.cover(protocol)

    def client(self):
        return self.tls.client()


async def test_another_certificate_is_shown_without_a_restart(tmp_path, tls):
    certificate = await Certificate.loaded(tls.pair)
    async with (
        running_router(tmp_path, tls=Served(tls, certificate)) as rig,
        rig.client() as before,
    ):
        first = await shown(rig.port, tls)
        tls.renew()
        certificate.look()
        assert await shown(rig.port, tls) == first
        # It has come to rest: nobody is between its two files.
        certificate.look()
        second = await shown(rig.port, tls)
        assert second != first
        certificate.look()
        assert await shown(rig.port, tls) == second
        # A connection that was there goes on.
        assert (await before.ask(invocation("none"))).status == 400


async def test_a_bad_certificate_leaves_the_former_one_until_a_sound_one_comes(tmp_path, tls):
    certificate = await Certificate.loaded(tls.pair)
    async with running_router(tmp_path, tls=Served(tls, certificate)) as rig:
        first = await shown(rig.port, tls)
        sound = tls.pair.certificate.read_bytes()
        tls.pair.certificate.write_text("not a certificate")
        for _ in range(3):
            certificate.look()
        assert "not in PEM" in certificate.trouble
        assert "used on" in certificate.trouble
        assert await shown(rig.port, tls) == first
        tls.pair.certificate.write_bytes(sound)
        for _ in range(2):
            certificate.look()
        assert certificate.trouble == ""
        tls.pair.key.unlink()
        for _ in range(2):
            certificate.look()
        assert "No such file" in certificate.trouble
        assert await shown(rig.port, tls) == first


@pytest.mark.slow
async def test_a_process_that_begins_with_a_bad_certificate_waits_for_a_sound_one(tls):
    sound = tls.pair.certificate.read_bytes()
    tls.pair.certificate.unlink()
    loading = asyncio.create_task(Certificate.loaded(tls.pair))
    done, _ = await asyncio.wait([loading], timeout=0.1)
    assert not done
    tls.pair.certificate.write_bytes(sound)
    certificate = await asyncio.wait_for(loading, 10)
    assert certificate.trouble == ""


def test_tls_offers_nothing_that_is_broken(tls):
    context = certificates.load(tls.pair)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
