import os
import socket

import pytest

from gnomon.model.socket_name import short_name


@pytest.fixture
def deep(tmp_path):
    """A place whose path fits no socket's address."""
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    return directory / "s.sock"


def test_a_socket_deep_down_is_bound_and_reached(deep):
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        with pytest.raises(OSError, match="too long"):
            server.bind(str(deep))
        with short_name(deep) as name:
            server.bind(name)
        server.listen()
        with short_name(deep) as name:
            client.connect(name)
        accepted, _ = server.accept()
        accepted.close()
    assert deep.is_socket()


def test_no_descriptor_is_left(deep):
    before = os.listdir("/proc/self/fd")
    with short_name(deep):
        pass
    assert os.listdir("/proc/self/fd") == before


def test_a_directory_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError), short_name(tmp_path / "missing" / "s.sock"):
        pass
