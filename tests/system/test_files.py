import codecs
import stat

import pytest

from dgam_core.errors import InputError
from dgam_core.system.files import read_names, read_text, whole_file, whole_folder


def test_a_file_appears_when_the_block_succeeds(tmp_path):
    with whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text() == "new"
    (tmp_path / "b.txt").write_text("")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "b.txt").stat().st_mode
    )


def test_a_failed_block_leaves_everything_as_it_was(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "b") as folder:
        (folder / "x").write_text("half")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_folder_that_is_missing_is_named(tmp_path):
    with (
        pytest.raises(InputError, match="does not exist; create it first"),
        whole_file(tmp_path / "no" / "a.txt"),
    ):
        pass


def test_of_two_folders_of_one_name_the_first_stays(tmp_path):
    with whole_folder(tmp_path / "run") as mine:
        (mine / "x").write_text("mine")
        with whole_folder(tmp_path / "run") as theirs:
            (theirs / "x").write_text("theirs")
    assert (tmp_path / "run" / "x").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_a_list_has_a_name_per_line(tmp_path, mark):
    path = tmp_path / "names.txt"
    path.write_bytes(mark + "bench press_0\r\n\n  é \nlast".encode())
    assert read_names(path) == ["bench press_0", "é", "last"]


def test_text_in_another_encoding_gets_a_sentence(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("a", encoding="utf-16")
    with pytest.raises(InputError, match=r"names.txt: cannot be read: is text in UTF-16; save it as UTF-8"):
        read_text(path)
    path.write_bytes("é".encode("latin-1"))
    with pytest.raises(InputError, match=r"names.txt: cannot be read: not text in UTF-8"):
        read_text(path)
