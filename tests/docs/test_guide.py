"""What the documents list is what the code has."""

import json
import re
from pathlib import Path

import pytest

from gnomon import settings_reading
from gnomon.app.main import _up
from gnomon.cli.main import build
from gnomon.control.api import OPERATIONS
from gnomon.hosting.images import MODEL_SERVER_IMAGES
from gnomon.model.metric import DROP_REASONS
from gnomon.objects import opening
from gnomon.router.mirror import DRAINED

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()


def section(text, heading):
    return re.split(r"^#+ ", text.split(f"# {heading}\n", 1)[1], flags=re.MULTILINE)[0]


def test_every_reason_of_a_dropped_copy():
    listed = re.findall(
        r"^\| `(\w+)`", section(GUIDE, "What is dropped, and counted"), re.MULTILINE
    )
    assert sorted(listed) == sorted({*DROP_REASONS, DRAINED})


def test_every_image_that_the_model_server_runs():
    assert (
        tuple(re.findall(r"^- `(.+)`$", section(GUIDE, "Images"), re.MULTILINE))
        == MODEL_SERVER_IMAGES
    )


def test_the_roles_are_ones_that_gnomon_reads(tmp_path, monkeypatch):
    # Its comments would be headings.
    roles = GUIDE.split("\n## Roles\n")[1].split("\n## ")[0]
    (example,) = re.findall(r"^```toml\n(.*?)^```", roles, re.MULTILINE | re.DOTALL)
    (tmp_path / "gnomon.toml").write_text(example)
    (tmp_path / "credentials").write_text(
        "".join(
            f"[{profile}]\naws_access_key_id = a\naws_secret_access_key = b\n"
            for profile in ("endpoints", "gnomon")
        )
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    settings = settings_reading.load(tmp_path, {})
    opening.check(settings)
    roles = opening.open_roles(settings, opening.open_keys(settings))
    account = "arn:aws:iam::111122223333:role"
    assert roles.access(f"{account}/Models").prove().access_key_id == "models"
    assert roles.access(f"{account}/Endpoints").prove().access_key_id == "a"
    assert roles.access(f"{account}/ShadowTest").role_arn == f"{account}/ShadowTest"


def test_every_operation():
    said = section(GUIDE, "Operations").split("SageMaker Runtime:")[0]
    assert re.findall(r"\b[A-Z]\w+[A-Z]\w+\b", said.partition("SageMaker:")[2]) == [*OPERATIONS]


def test_every_command():
    app = build(_up)
    commands = {info.name for info in (*app.registered_commands, *app.registered_groups)}
    listed = re.findall(r"^\| `gnomon (\w+)", section(README, "The `gnomon` command"), re.MULTILINE)
    assert set(listed) == commands


def test_every_version_of_a_client_that_the_tests_pin():
    clients = section(GUIDE, "Clients")
    packages = json.loads((ROOT / "examples" / "javascript" / "package.json").read_text())
    for version in packages["dependencies"].values():
        assert f"| {version}, on Node.js" in clients
    core = ROOT / "tests" / "clients" / "sagemaker_core" / "requirements.txt"
    (version,) = re.findall(r"^sagemaker-core==(.+)$", core.read_text(), re.MULTILINE)
    assert f"| sagemaker-core | {version} |" in clients


DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def anchors(document):
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target
