import os
import socket
import threading

import pytest

from gnomon.app import handover


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


@pytest.fixture
def offer(tmp_path, listener):
    offered = handover.Offer(tmp_path / "0.sock", listener)
    yield offered
    offered.close()


def take(offer, path, host="127.0.0.1", port=0):
    """What is taken while the router's loop serves the offer once."""
    serving = threading.Thread(target=serve_once, args=(offer,))
    serving.start()
    taken = handover.take([path], host, port)
    serving.join()
    return taken


def serve_once(offer):
    import select

    select.select([offer.fileno()], [], [], 5)
    offer.serve()


def test_the_socket_that_is_taken_is_the_same_socket(tmp_path, offer, listener):
    with take(offer, tmp_path / "0.sock", port=listener.getsockname()[1]) as taken:
        address = listener.getsockname()
        listener.close()
        offer.close()
        # Nobody but the new owner has it now, and it accepts.
        with socket.create_connection(address, 5):
            taken.setblocking(True)
            taken.accept()[0].close()


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 1), ("::1", 0), ("127.0.0.2", 0)])
def test_a_socket_on_another_address_is_not_taken(tmp_path, offer, host, port):
    assert take(offer, tmp_path / "0.sock", host, port) is None


def test_a_router_that_is_gone_is_passed_over(tmp_path, offer, listener):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    paths = [tmp_path / "missing.sock", tmp_path / "dead.sock"]
    assert handover.take(paths, "127.0.0.1", 0) is None
    serving = threading.Thread(target=serve_once, args=(offer,))
    serving.start()
    with handover.take([*paths, tmp_path / "0.sock"], "127.0.0.1", 0) as taken:
        assert taken.getsockname() == listener.getsockname()
    serving.join()


def test_the_place_is_its_owners_alone_and_a_successors(tmp_path, offer, listener):
    path = tmp_path / "0.sock"
    assert os.stat(path).st_mode & 0o777 == 0o600
    successor = handover.Offer(path, listener)
    offer.close()
    with take(successor, path) as taken:
        assert taken.getsockname() == listener.getsockname()
    successor.close()


def test_another_user_gets_nothing(tmp_path, offer, monkeypatch):
    monkeypatch.setattr(handover, "_user_of", lambda asking: os.geteuid() + 1)
    assert take(offer, tmp_path / "0.sock") is None
