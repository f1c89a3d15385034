import pytest

from gnomon.spool.sealing import FrameOpener, FrameSeal, NotSealed

KEY = bytes(range(32))
KEYS = {b"wrapped": KEY}


@pytest.fixture
def asked():
    return []


@pytest.fixture
def opener(asked):
    def unwrap(wrapped):
        asked.append(wrapped)
        return KEYS[wrapped]

    return FrameOpener(unwrap)


def test_what_was_sealed_is_opened_and_is_not_to_be_seen(opener):
    sealed = FrameSeal(b"wrapped", KEY).close(2, b"MARKER")
    assert b"MARKER" not in sealed
    assert opener.open(2, sealed) == b"MARKER"


def test_the_same_is_never_sealed_alike_not_even_by_two_seals_of_one_key(opener):
    seals = [FrameSeal(b"wrapped", KEY), FrameSeal(b"wrapped", KEY)]
    sealed = [seal.close(3, b"MARKER") for seal in (*seals, *seals)]
    assert len({one[-22:] for one in sealed}) == 4
    assert [opener.open(3, one) for one in sealed] == [b"MARKER"] * 4


def test_a_key_is_unwrapped_once_for_each_seal(opener, asked):
    seals = [FrameSeal(b"wrapped", KEY), FrameSeal(b"wrapped", KEY)]
    for seal in seals * 3:
        opener.open(2, seal.close(2, b""))
    assert asked == [b"wrapped"] * 2


def test_what_was_changed_anywhere_does_not_open(opener):
    sealed = FrameSeal(b"wrapped", KEY).close(2, b"MARKER")
    with pytest.raises(NotSealed):
        opener.open(3, sealed)
    for position in range(2 + len(b"wrapped"), len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(NotSealed):
            opener.open(2, bytes(changed))
    for length in range(len(sealed)):
        with pytest.raises((NotSealed, KeyError)):
            opener.open(2, sealed[:length])


def test_a_key_that_cannot_be_unwrapped_is_the_callers_matter(opener):
    with pytest.raises(KeyError):
        opener.open(2, FrameSeal(b"another", KEY).close(2, b""))
