import stat

import pytest

from dgam_core.errors import InputError
from dgam_core.system.files import whole_file, whole_folder


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
