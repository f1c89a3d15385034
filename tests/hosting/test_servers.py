"""What may stand under [hosting.external], and the sentence for what may not."""

import re

import pytest

from gnomon.errors import SettingsError
from gnomon.hosting.servers import Server, check, external_of
from gnomon.settings import ExternalSettings

URL = "http://127.0.0.1:9000"


def servers_of(*urls: str):
    return external_of("triton:*", ExternalSettings(urls=urls)).servers


@pytest.mark.parametrize(
    ("url", "server"),
    [
        (URL, (URL, "127.0.0.1", 9000, "")),
        ("http://triton.example/", ("http://triton.example/", "triton.example", 80, "")),
        ("http://vllm_1/base/path/", ("http://vllm_1/base/path/", "vllm_1", 80, "/base/path")),
        ("http://[::1]:9000", ("http://[::1]:9000", "::1", 9000, "")),
        ("HTTP://Triton:9000", ("HTTP://Triton:9000", "triton", 9000, "")),
    ],
)
def test_a_base_url(url, server):
    assert servers_of(url) == (Server(*server),)


def test_paths_headers_and_patience_are_taken_over():
    external = external_of(
        "triton:*",
        ExternalSettings(
            urls=(URL,),
            health="/v2/health/ready",
            invocations="/v2/models/m/infer?x=1",
            headers={"Host": "m.example", "X-Empty": ""},
            keep_alive_s=5.0,
        ),
    )

    assert external.ping_path == "/v2/health/ready"
    assert external.invocation_path == "/v2/models/m/infer?x=1"
    assert external.headers == (("Host", "m.example"), ("X-Empty", ""))
    assert external.keep_alive_s == 5.0


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (ExternalSettings(), "has no urls"),
        (ExternalSettings(urls=("https://a",)), "plain HTTP to servers, not https yet"),
        (ExternalSettings(urls=("a:9000",)), "must begin with http://"),
        (ExternalSettings(urls=("grpc://a",)), "must begin with http://"),
        (ExternalSettings(urls=("http://",)), "names no host"),
        (ExternalSettings(urls=("http://a b",)), "names no host"),
        (ExternalSettings(urls=("http://a\r\nb",)), "names no host"),
        (ExternalSettings(urls=("http://[::1",)), "is not a URL"),
        (ExternalSettings(urls=("http://a:port",)), "is not a URL"),
        (ExternalSettings(urls=("http://a:99999",)), "is not a URL"),
        (ExternalSettings(urls=("http://a:0",)), "port 0"),
        (ExternalSettings(urls=("http://a?x=1",)), "more than a host, a port and a path"),
        (ExternalSettings(urls=("http://a#x",)), "more than a host, a port and a path"),
        (ExternalSettings(urls=("http://a/ü",)), "must be percent-encoded"),
        (ExternalSettings(urls=(URL, f"{URL}/")), "is there twice"),
        (ExternalSettings(urls=(URL,), health="ping"), "health is 'ping' and must be a path"),
        (ExternalSettings(urls=(URL,), health=""), "health is '' and must be a path"),
        (ExternalSettings(urls=(URL,), invocations="/a b"), "invocations is '/a b'"),
        (ExternalSettings(urls=(URL,), invocations="/a\n"), "must be a path"),
        (ExternalSettings(urls=(URL,), headers={"A B": "x"}), "not the name of a header"),
        (ExternalSettings(urls=(URL,), headers={"": "x"}), "not the name of a header"),
        (ExternalSettings(urls=(URL,), headers={"Content-Length": "1"}), "set by Gnomon itself"),
        (ExternalSettings(urls=(URL,), headers={"a": "x", "A": "y"}), "the header A is there tw"),
        (ExternalSettings(urls=(URL,), keep_alive_s=-1.0), "keep_alive_s is -1.0"),
    ],
)
def test_what_cannot_be_used_is_said(settings, sentence):
    with pytest.raises(SettingsError, match=re.escape(sentence)) as caught:
        check({"triton:*": settings})
    assert str(caught.value).startswith('hosting.external."triton:*"')


def test_a_password_in_a_url_is_refused_and_not_shown():
    with pytest.raises(SettingsError, match="give an Authorization under headers") as caught:
        servers_of("http://me:secret@a")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["secret\r\nX: y", "secret\n", " secret", "secrät", "secret\0"])
def test_a_value_that_no_header_may_have_is_refused_and_not_shown(value):
    with pytest.raises(SettingsError, match="the header X-Key has characters") as caught:
        external_of("a", ExternalSettings(urls=(URL,), headers={"X-Key": value}))
    assert "secr" not in str(caught.value)
