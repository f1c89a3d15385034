import asyncio
import socket
from contextlib import closing, contextmanager
from socket import IPPROTO_TCP, TCP_NODELAY

import pytest

from gnomon.app.listening import (
    control_socket,
    open_sockets,
    passing_socket,
    refuse_beyond_loopback,
    url,
)
from gnomon.errors import SettingsError
from gnomon.settings import ServerSettings


@contextmanager
def opened(server):
    routers, reserved = open_sockets(server)
    with closing(routers), closing(reserved):
        yield routers.getsockname()[1], reserved.getsockname()[1]


def connects(host, port):
    try:
        socket.create_connection((host, port), timeout=30).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_control_is_refused_until_it_listens_and_as_soon_as_it_is_gone(host):
    with opened(ServerSettings(host, 0, 0)) as (_, port):
        server = ServerSettings(host, 0, port)
        assert not connects(host, port)
        for _ in range(2):
            with closing(control_socket(server)) as control:
                control.listen()
                # A connection that control ends leaves the port in TIME_WAIT.
                with closing(socket.create_connection((host, port), timeout=30)):
                    control.setblocking(True)
                    control.accept()[0].close()
            assert not connects(host, port)


def test_the_routers_socket_accepts_before_there_is_a_router():
    with opened(ServerSettings("127.0.0.1", 0, 0)) as (port, _):
        assert connects("127.0.0.1", port)


def test_a_port_that_another_gnomon_listens_on_is_refused_by_its_option():
    with opened(ServerSettings("127.0.0.1", 0, 0)) as (port, control_port):
        with pytest.raises(SettingsError, match=rf":{port}: .*--port "):
            open_sockets(ServerSettings("127.0.0.1", port, 0))
        with closing(control_socket(ServerSettings("127.0.0.1", 0, control_port))) as control:
            control.listen()
            with pytest.raises(SettingsError, match=rf":{control_port}: .*--control-port "):
                open_sockets(ServerSettings("127.0.0.1", 0, control_port))


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "http://127.0.0.1:8500"), ("::1", "http://[::1]:8500")],
)
def test_an_address_with_colons_is_in_brackets_in_a_url(host, expected):
    assert url(host, 8500) == expected
    assert url(host, 8500, has_tls=True) == expected.replace("http", "https")


def test_what_routers_pass_on_comes_by_a_socket_of_this_user_alone(tmp_path):
    deep = tmp_path / ("d" * 110)
    deep.mkdir()
    path = deep / "control.sock"
    for _ in range(2):
        # The former one's file is left where it was killed.
        with closing(passing_socket(path)):
            assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_other_machines_are_kept_out(host):
    with pytest.raises(SettingsError, match="loopback only"):
        refuse_beyond_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_accepted_connection_sends_at_once(host):
    # Else the body of an answer, which is sent behind its head, waits 40 ms on a kept connection.
    accepted = asyncio.Queue()

    async def note(_, writer):
        accepted.put_nowait(writer.get_extra_info("socket").getsockopt(IPPROTO_TCP, TCP_NODELAY))
        writer.close()

    with closing(control_socket(ServerSettings(host, 0, 0))) as bound:
        port = bound.getsockname()[1]
        async with await asyncio.start_server(note, sock=bound):
            with closing(await asyncio.to_thread(socket.create_connection, (host, port), 5)):
                assert await asyncio.wait_for(accepted.get(), 30)
