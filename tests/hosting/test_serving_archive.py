import zipfile

from gnomon.hosting.serving_archive import pack


def test_packing_again_gives_the_same_file(tmp_path):
    first = pack(tmp_path / "a")
    content = first.read_bytes()

    second = pack(tmp_path / "b")

    assert first.name == second.name
    assert content == second.read_bytes()


def test_a_file_that_is_there_is_left_alone(tmp_path):
    first = pack(tmp_path)
    before = first.stat()

    pack(tmp_path)

    assert first.stat().st_mtime_ns == before.st_mtime_ns
    assert first.stat().st_ino == before.st_ino


def test_nothing_else_is_left_behind(tmp_path):
    path = pack(tmp_path)

    assert list(tmp_path.iterdir()) == [path]


def test_it_holds_the_whole_package(tmp_path):
    names = zipfile.ZipFile(pack(tmp_path)).namelist()

    assert "__main__.py" in names
    assert {"gnomon_serving/__init__.py", "gnomon_serving/server.py"} <= set(names)
