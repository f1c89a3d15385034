import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from gnomon.app import handover
from gnomon.app.router import _offer as offer_of_a_router


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


@pytest.fixture
def offer(tmp_path, listener):
    offered = handover.Offer(tmp_path / "0.sock", listener)
    yield offered
    offered.close()


@contextlib.contextmanager
def taken_from(offer, *paths, host="127.0.0.1", port=0):
    """What is taken while the router's loop serves the offer once; None if nothing is."""
    serving = threading.Thread(target=serve_once, args=(offer,))
    serving.start()
    taken = handover.take(paths, host, port)
    serving.join()
    yield taken
    if taken is not None:
        taken.release()
        taken.listener.close()


def serve_once(offer):
    import select

    select.select([offer.fileno()], [], [], 5)
    offer.serve()


def test_the_socket_that_is_taken_is_the_same_socket(tmp_path, offer, listener):
    with taken_from(offer, tmp_path / "0.sock", port=listener.getsockname()[1]) as taken:
        address = listener.getsockname()
        listener.close()
        offer.close()
        # Nobody but the new owner has it now, and it accepts.
        with socket.create_connection(address, 5):
            taken.listener.setblocking(True)
            taken.listener.accept()[0].close()


def test_what_is_taken_does_not_outlive_exec(tmp_path, offer):
    # After `gnomon restart` it would listen on and on, with nobody to accept.
    with taken_from(offer, tmp_path / "0.sock") as taken:
        assert not os.get_inheritable(taken.listener.fileno())
        assert [os.get_inheritable(lease.fileno()) for lease in taken.leases] == [False]


def test_a_router_knows_that_others_accept_until_they_are_gone(tmp_path, offer):
    assert not offer.is_taken
    with taken_from(offer, tmp_path / "0.sock") as taken:
        assert offer.is_taken
        taken.release()
        assert not offer.is_taken


def test_every_router_knows_that_others_accept(tmp_path, offer, listener):
    other = handover.Offer(tmp_path / "1.sock", listener)
    serving = threading.Thread(target=serve_once, args=(other,))
    serving.start()
    with taken_from(offer, tmp_path / "0.sock", tmp_path / "1.sock"):
        serving.join()
        assert offer.is_taken
        assert other.is_taken
    other.close()


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 1), ("::1", 0), ("127.0.0.2", 0)])
def test_a_socket_on_another_address_is_not_taken(tmp_path, offer, host, port):
    with taken_from(offer, tmp_path / "0.sock", host=host, port=port) as taken:
        assert taken is None
        assert not offer.is_taken


def test_a_router_that_is_gone_is_passed_over(tmp_path, offer, listener):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    paths = [tmp_path / "missing.sock", tmp_path / "dead.sock"]
    assert handover.take(paths, "127.0.0.1", 0) is None
    with taken_from(offer, *paths, tmp_path / "0.sock") as taken:
        assert taken.listener.getsockname() == listener.getsockname()


def test_the_place_is_its_owners_alone(tmp_path, offer):
    assert os.stat(tmp_path / "0.sock").st_mode & 0o777 == 0o600
    offer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_a_dead_router_has_left_is_taken_anew(tmp_path, listener):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "0.sock"))
    successor = handover.Offer(tmp_path / "0.sock", listener)
    with taken_from(successor, tmp_path / "0.sock") as taken:
        assert taken.listener.getsockname() == listener.getsockname()
    successor.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_gets_nothing(listener):
    # Where neither the directories nor the mode keep others out.
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        path = Path(directory) / "0.sock"
        offer = handover.Offer(path, listener)
        path.chmod(0o777)
        ask_as_nobody(path, offer)
        offer.close()


def ask_as_nobody(path, offer):
    program = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
        "s.settimeout(20); s.connect(sys.argv[1]); print(socket.recv_fds(s, 1, 1)[:2])"
    )
    serving = threading.Thread(target=serve_once, args=(offer,))
    serving.start()
    asked = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    serving.join()
    # Root's own supervisor is this user here.
    assert (asked.stdout.strip(), asked.stderr) == ("(b'', [])", "")
    assert not offer.is_taken


async def test_a_router_that_cannot_offer_its_socket_serves_on(tmp_path, listener):
    assert offer_of_a_router(tmp_path / "missing" / "0.sock", listener) is None
