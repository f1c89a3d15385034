"""The model server as a program, run from its source as an instance runs it packed."""

import ast
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gnomon

SERVING = Path(gnomon.__file__).parent / "serving"


@pytest.fixture
def run(tmp_path):
    """Starts the program on a listening socket; gives the process and the socket's address."""
    processes = []

    def start(program: str):
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "inference.py").write_text(program)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            environment = {
                **os.environ,
                "SM_MODEL_DIR": str(tmp_path),
                "GNOMON_LISTEN_FD": str(listener.fileno()),
            }
            process = subprocess.Popen(
                [sys.executable, "-m", "gnomon.serving"],
                env=environment,
                pass_fds=[listener.fileno()],
                stderr=subprocess.PIPE,
                text=True,
            )
            processes.append(process)
            return process, listener.getsockname()

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()


def get(address, request: bytes) -> bytes:
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(request + b"Connection: close\r\n\r\n")
        data = b""
        while received := connection.recv(65536):
            data += received
        return data


def wait_for_ping(address, status: bytes) -> None:
    deadline_s = time.monotonic() + 20
    while status not in get(address, b"GET /ping HTTP/1.1\r\n"):
        assert time.monotonic() < deadline_s


def test_it_serves_until_sigterm(run):
    process, address = run("def model_fn(model_dir): return None\n")
    wait_for_ping(address, b" 200 ")

    process.send_signal(signal.SIGTERM)

    _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    assert log.splitlines()[-1].endswith("received SIGTERM")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_its_own_lines_say_which_instance_and_which_request_they_are_about(run, monkeypatch):
    monkeypatch.setenv("GNOMON_INSTANCE_ID", "01I")
    process, address = run(
        "def model_fn(model_dir): return None\n"
        "def transform_fn(model, body, content_type, accept): raise KeyError('lost')\n"
    )
    wait_for_ping(address, b" 200 ")
    head = b"POST /invocations HTTP/1.1\r\nX-Gnomon-Event-Id: 01R\r\nContent-Length: 0\r\n"
    assert b" 500 " in get(address, head)

    process.send_signal(signal.SIGTERM)

    _, log = process.communicate(timeout=20)
    assert " gnomon model server instance=01I: the model was loaded in " in log
    failed = log[log.index("instance=01I request_id=01R: a request failed") :]
    assert "KeyError: 'lost'" in failed


def test_a_ping_is_answered_while_the_model_loads(run, tmp_path):
    hold = tmp_path / "hold"
    os.mkfifo(hold)
    _, address = run(f"def model_fn(model_dir): open({str(hold)!r}).read()\n")

    wait_for_ping(address, b" 503 ")
    hold.write_text("go on")

    wait_for_ping(address, b" 200 ")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (
            "def model_fn(model_dir):\n    raise ValueError('no weights')\n",
            "ValueError: no weights",
        ),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("def model_fn(:\n", "SyntaxError"),
        ("import sys\nsys.exit('enough')\n", "SystemExit: enough"),
    ],
)
def test_a_model_that_does_not_load(run, program, said):
    process, _ = run(program)

    _, log = process.communicate(timeout=20)

    assert process.returncode == 1
    assert said in log
    assert log.splitlines()[-1].endswith("the model did not load")


def test_a_thread_of_the_model_does_not_hold_the_end_up(run):
    process, address = run(
        "import threading, time\n"
        "def model_fn(model_dir):\n"
        "    threading.Thread(target=time.sleep, args=(1000,)).start()\n"
    )
    wait_for_ping(address, b" 200 ")

    process.send_signal(signal.SIGTERM)

    process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_socket_is_not_inherited_by_what_a_model_starts(run):
    process, address = run(
        "import subprocess, sys\n"
        "def model_fn(model_dir):\n"
        "    subprocess.Popen(['sleep', '2'], close_fds=False, stderr=subprocess.DEVNULL)\n"
    )
    wait_for_ping(address, b" 200 ")
    process.kill()
    process.wait()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


@pytest.mark.parametrize("path", sorted(SERVING.glob("*.py")), ids=lambda path: path.name)
def test_it_is_python_3_9_with_nothing_but_the_standard_library(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 9))

    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and node.level == 0
            else []
        )
    }
    assert imported <= set(sys.stdlib_module_names)
