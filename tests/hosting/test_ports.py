import socket

from gnomon.hosting.ports import PortPool, can_bind


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def pool(ports, clock=None, taken_elsewhere=()):
    return PortPool(ports, 60.0, clock or Clock(), lambda port: port not in taken_elsewhere)


def test_no_port_is_given_twice():
    ports = pool([1, 2])

    assert {ports.take(), ports.take()} == {1, 2}
    assert ports.take() is None


def test_a_port_that_a_stranger_has_is_passed_over():
    assert pool([1, 2], taken_elsewhere=[1]).take() == 2


def test_a_port_rests_before_it_is_used_again():
    clock = Clock()
    ports = pool([1], clock)
    ports.release(ports.take())

    clock.now_s = 59.9
    assert ports.take() is None
    clock.now_s = 60.0
    assert ports.take() == 1


def test_a_reserved_port_is_not_given():
    ports = pool([1, 2])
    ports.reserve(1)

    assert ports.take() == 2
    assert ports.take() is None


def test_ports_are_given_in_turn():
    clock = Clock()
    ports = pool([1, 2, 3], clock)
    ports.release(ports.take())
    clock.now_s = 100.0

    assert ports.take() == 2


def test_a_port_that_is_listened_on_cannot_be_bound():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not can_bind(port)
    assert can_bind(port)
