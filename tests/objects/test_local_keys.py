import stat

import pytest

from gnomon.model.arn import Account
from gnomon.objects.keys import KeyServiceFailed, KeyUnusable
from gnomon.objects.local_keys import KeyRefused, LocalKeys

ACCOUNT = Account("eu-west-1", "111122223333")
ARN = "arn:aws:kms:eu-west-1:111122223333:"
CONTEXT = {"aws:s3:arn": "arn:aws:s3:::bucket/a"}


@pytest.fixture
def keys(tmp_path):
    return LocalKeys(tmp_path / "keys.json", ACCOUNT)


def test_a_key_has_four_spellings(keys):
    key = keys.create(1.0, "for captures", "captures")
    for spelling in (
        key.id,
        f"{ARN}key/{key.id}",
        "alias/captures",
        f"{ARN}alias/captures",
    ):
        assert keys.find(spelling).id == key.id
        data_key = keys.data_key(spelling, CONTEXT)
        assert keys.unwrap(data_key.wrapped, CONTEXT) == data_key.plain
    assert keys.arn(key) == f"{ARN}key/{key.id}"


@pytest.mark.parametrize(
    "spelling",
    [
        "captures",
        "alias/other",
        "8f0e1d7e-0000-4000-8000-000000000000",
        "arn:aws:kms:us-east-1:111122223333:alias/captures",
        "arn:aws:kms:eu-west-1:999999999999:alias/captures",
        "key/",
        "",
    ],
)
def test_a_key_that_does_not_exist_is_said_to(keys, spelling):
    keys.create(1.0, "", "captures")
    with pytest.raises(KeyUnusable, match="cannot be used: it does not exist"):
        keys.data_key(spelling, CONTEXT)


def test_a_disabled_key_neither_makes_nor_opens_data_keys_until_it_is_enabled(keys):
    keys.create(1.0, "", "captures")
    data_key = keys.data_key("alias/captures", CONTEXT)
    keys.enable("alias/captures", enabled=False)
    for call in (
        lambda: keys.data_key("alias/captures", CONTEXT),
        lambda: keys.unwrap(data_key.wrapped, CONTEXT),
    ):
        with pytest.raises(KeyUnusable, match="it is disabled"):
            call()
    keys.enable("alias/captures", enabled=True)
    assert keys.unwrap(data_key.wrapped, CONTEXT) == data_key.plain


def test_a_data_key_opens_only_in_its_context(keys):
    keys.create(1.0, "", "captures")
    data_key = keys.data_key("alias/captures", CONTEXT)
    with pytest.raises(KeyUnusable, match="another object, or changed"):
        keys.unwrap(data_key.wrapped, {"aws:s3:arn": "arn:aws:s3:::bucket/b"})
    with pytest.raises(KeyUnusable, match="another object, or changed"):
        keys.unwrap(data_key.wrapped[:-1] + bytes([data_key.wrapped[-1] ^ 1]), CONTEXT)
    with pytest.raises(KeyUnusable, match="not one of this key service's"):
        keys.unwrap(b"\x01short", CONTEXT)


def test_every_data_key_is_another_one(keys):
    keys.create(1.0, "", "captures")
    made = [keys.data_key("alias/captures", CONTEXT) for _ in range(3)]
    assert len({data_key.plain for data_key in made}) == 3
    assert not any(data_key.plain in data_key.wrapped for data_key in made)


def test_the_file_is_its_owners_alone(keys, tmp_path):
    keys.create(1.0, "", None)
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600


def test_an_alias_moves_to_another_key(keys):
    first = keys.create(1.0, "", "captures")
    second = keys.create(2.0, "", None)
    with pytest.raises(KeyRefused, match="another key's"):
        keys.create(3.0, "", "captures")
    keys.alias("captures", second.id)
    assert keys.find("alias/captures").id == second.id
    assert keys.all() == [(first, []), (second, ["alias/captures"])]


@pytest.mark.parametrize("alias", ["aws/s3", "", "a b", "é", "a" * 251])
def test_a_name_that_is_no_alias_is_refused_and_nothing_is_made(keys, alias):
    with pytest.raises(KeyRefused, match="no name of an alias"):
        keys.create(1.0, "", alias)
    assert keys.all() == []


def test_a_file_that_cannot_be_read_is_not_taken_for_an_empty_one(keys, tmp_path):
    (tmp_path / "keys.json").write_text("{")
    with pytest.raises(KeyServiceFailed, match=r"keys\.json cannot be read"):
        keys.create(1.0, "", None)
    assert (tmp_path / "keys.json").read_text() == "{"
