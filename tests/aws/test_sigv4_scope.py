import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.aws.sigv4_scope import CredentialScope, parse_scope

SIGNED = (
    "AWS4-HMAC-SHA256 Credential=AKID/20261121/eu-west-3/sagemaker/aws4_request, "
    "SignedHeaders=content-type;host;x-amz-date, Signature=00ff"
)


def test_the_scope_is_read_from_the_header() -> None:
    assert parse_scope(SIGNED) == CredentialScope("AKID", "20261121", "eu-west-3", "sagemaker")


@pytest.mark.parametrize(
    "header",
    [
        SIGNED.replace(", ", ","),
        (
            "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=00, "
            "Credential=AKID/20261121/eu-west-3/sagemaker/aws4_request"
        ),
    ],
)
def test_order_and_spaces_of_the_parts_do_not_matter(header: str) -> None:
    scope = parse_scope(header)
    assert scope is not None
    assert scope.region == "eu-west-3"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer token",
        "AWS4-HMAC-SHA256",
        SIGNED.replace("eu-west-3", "EU WEST"),
        SIGNED.replace("eu-west-3", ""),
        SIGNED.replace("eu-west-3", "eu:west:3"),
        SIGNED.replace("20261121", "today"),
        SIGNED.replace("aws4_request", "aws3"),
        SIGNED.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
    ],
)
def test_what_is_no_scope_gives_none(header: str | None) -> None:
    assert parse_scope(header) is None


TEXT = st.text("aK9/,= \n-\u20ac\ud800")


@settings(deadline=None)
@given(TEXT | TEXT.map(lambda text: f"AWS4-HMAC-SHA256 Credential={text}"))
def test_no_header_raises(header: str) -> None:
    parse_scope(header)
