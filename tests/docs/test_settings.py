"""docs/settings.md has every setting, with its default, and no other."""

import re
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path

from gnomon import settings, settings_reading
from gnomon.hosting import servers

DOCUMENT = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()


def documented():
    """Section to name to default, as the document's tables have them."""
    found = {}
    for section in re.split(r"^## ", DOCUMENT, flags=re.MULTILINE)[1:]:
        rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \| (\S.*) \|$", section, re.MULTILINE)
        found[section.split()[0]] = {
            name: tomllib.loads(f"value = {default}")["value"] for name, default, _ in rows
        }
    return found


def default_of(field):
    default = field.default if field.default is not MISSING else field.default_factory()
    return list(default) if isinstance(default, tuple) else default


def test_every_setting_is_documented_with_its_default():
    assert documented() == {
        section.name: {field.name: default_of(field) for field in fields(section.default)}
        for section in fields(settings.Settings)
        if section.name != "data_dir"
    }


def test_the_documented_file_is_one_that_gnomon_reads(tmp_path):
    (example,) = re.findall(r"^```toml\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    (tmp_path / "gnomon.toml").write_text(example)
    loaded = settings_reading.load(tmp_path, {})
    assert loaded.server.port == 8600
    assert loaded.hosting.interpreter == "/opt/models/.venv/bin/python"
    assert list(loaded.hosting.images) == ["my-registry/scorer:*"]
    assert list(loaded.hosting.interpreters) == ["*sagemaker-scikit-learn:1.2-*"]
    servers.check(loaded.hosting.external)
    assert list(loaded.hosting.external) == ["triton:*"]


def test_a_documented_variable_is_read(tmp_path):
    assert "`GNOMON_SERVER_PORT`" in DOCUMENT
    assert settings_reading.load(tmp_path, {"GNOMON_SERVER_PORT": "8600"}).server.port == 8600
