"""Every command and program that the documents show is run, in order, as a reader would.

A block of ```sh or ```python that cannot be run says why in a comment before it,
`<!-- not run: … -->`; `<!-- run in the background -->` is for what a reader gives a terminal of its
own. All sh blocks of a document are one shell; each python block is a program.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>not run: [^\n]+|run in the background) -->\n)?"
    r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
# Languages that are shown, not run; each block has to name one or the other.
_SHOWN = {"toml", "json", "text", "mermaid"}
_MAX_NOT_RUN = 3
# For half a minute: a machine that runs all tests at once is slow.
_UNTIL_UP = """tries=0
until gnomon status >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || exit 1
    sleep 0.5
done"""


@dataclass(frozen=True)
class Block:
    """One fenced block, and where it begins."""

    language: str
    text: str
    note: str
    line: int


def blocks_of(document):
    text = document.read_text()
    return [
        Block(
            found["language"],
            found["text"],
            found["note"] or "",
            text.count("\n", 0, found.start("language")) + 1,
        )
        for found in _BLOCK.finditer(text)
    ]


def runs(block):
    return block.language in {"sh", "python"} and not block.note.startswith("not run")


def script_of(document, directory):
    """One shell script that runs the document's blocks in order, and says where it is."""
    parts = ["set -eu"]
    for block in blocks_of(document):
        if not runs(block):
            continue
        where = f"{document.name}:{block.line}"
        parts.append(f"echo '--- {where}'")
        if block.language == "python":
            program = directory / f"{document.stem}-{block.line}.py"
            program.write_text(block.text)
            parts.append(f"python {shlex.quote(str(program))}")
        elif block.note:
            # Its reader sees that it is up before going on.
            parts.append(f"(\n{block.text}) >up.log 2>&1 &")
            parts.append(_UNTIL_UP)
        else:
            parts.append(block.text)
    parts.append("echo '--- end'")
    return "\n".join(parts)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_block_says_what_it_is_and_few_are_not_run(document):
    blocks = blocks_of(document)
    assert document.read_text().count("\n```") == 2 * len(blocks)
    unknown = [block for block in blocks if block.language not in {"sh", "python"} | _SHOWN]
    assert unknown == []
    assert sum(block.note.startswith("not run") for block in blocks) <= _MAX_NOT_RUN


def test_scripts_that_are_not_run_exist():
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"^scripts/(\w+)", text, re.MULTILINE))
    assert named == {"demo", "test"}
    assert all(os.access(ROOT / "scripts" / name, os.X_OK) for name in named)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "document",
    [path for path in DOCUMENTS if any(map(runs, blocks_of(path)))],
    ids=lambda path: path.name,
)
def test_what_a_document_shows_works(document, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    environ = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        # Other Gnomons run on this machine: the ports are any that are free.
        "GNOMON_SERVER_PORT": "0",
        "GNOMON_SERVER_CONTROL_PORT": "0",
        "GNOMON_ROUTER_DRAIN_IDLE_S": "0.2",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_PAGER": "",
        **{name: os.environ[name] for name in ("OPENBLAS_CORETYPE",) if name in os.environ},
    }
    script = tmp_path / "script.sh"
    script.write_text(script_of(document, tmp_path))
    work = tmp_path / "work"
    work.mkdir()
    output = tmp_path / "output"
    with output.open("wb") as file:
        shell = subprocess.Popen(
            ["/bin/sh", str(script)],
            cwd=work,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = shell.wait(280)
        finally:
            # A document that failed has left its Gnomon running.
            subprocess.run(["gnomon", "down"], env=environ, capture_output=True, check=False)
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGKILL)
                shell.wait()
    log = work / "up.log"
    said = output.read_text() + (log.read_text()[-4000:] if log.exists() else "")
    assert status == 0, said
    assert "--- end" in said
