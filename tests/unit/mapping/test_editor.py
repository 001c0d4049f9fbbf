from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from kisi.errors import ConfigError, ExitCode, StateError
from kisi.mapping import file as file_module
from kisi.mapping.file import ConfigNames, MappingEditor
from tests.conftest import posix_modes

TEXT = "# mine\r\n[[application]]\r\nname = 'Böhm'"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "mapping.toml"
    path.write_bytes(TEXT.encode())
    return path


def opened(path):
    return MappingEditor(path, ConfigNames(["hq"], ["cw"]))


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def no_sleep(_seconds):
    raise AssertionError("nothing to wait for")


def test_a_changed_text_is_written_and_the_one_before_is_kept(path):
    editor = opened(path)
    assert editor.text == TEXT
    assert editor.save(TEXT + "\r\n# more", no_sleep)
    assert path.read_bytes() == f"{TEXT}\r\n# more".encode()
    assert path.with_name("mapping.toml.bak").read_bytes() == TEXT.encode()
    assert names(path.parent) == ["mapping.toml", "mapping.toml.bak"]


def test_a_editor_can_be_saved_again_and_again(path):
    editor = opened(path)
    for text in ("# 1", "# 2"):
        assert editor.save(text, no_sleep)
    assert path.read_text() == "# 2"
    assert path.with_name("mapping.toml.bak").read_text() == "# 1"


def test_an_unchanged_text_is_not_written(path):
    assert not opened(path).save(TEXT, no_sleep)
    assert not opened(path.with_name("none.toml")).save("", no_sleep)
    assert names(path.parent) == ["mapping.toml"]


def test_a_missing_file_is_an_empty_text_and_is_created_without_a_backup(tmp_path):
    editor = opened(tmp_path / "mapping.toml")
    assert editor.text == ""
    assert editor.save("# 1\n", no_sleep)
    assert names(tmp_path) == ["mapping.toml"]


def test_a_file_that_someone_else_changed_is_left_alone(path):
    editor = opened(path)
    path.write_text("theirs = 1")
    with pytest.raises(ConfigError, match="changed since kisi read it") as caught:
        editor.save("# 1", no_sleep)
    assert caught.value.exit_code is ExitCode.CONFIG
    assert path.read_text() == "theirs = 1"
    assert names(path.parent) == ["mapping.toml"]


def test_a_file_that_vanished_is_not_created_again(path):
    editor = opened(path)
    path.unlink()
    with pytest.raises(ConfigError, match="vanished since"):
        editor.save("# 1", no_sleep)
    assert names(path.parent) == []


def test_a_file_that_appeared_is_not_overwritten(tmp_path):
    editor = opened(tmp_path / "mapping.toml")
    (tmp_path / "mapping.toml").write_text("theirs = 1")
    with pytest.raises(ConfigError, match="appeared since"):
        editor.save("# 1", no_sleep)


def test_a_full_disk_leaves_the_file_as_it_was(path, monkeypatch):
    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    editor = opened(path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match="No space left on device") as caught:
        editor.save("# 1", no_sleep)
    assert caught.value.exit_code is ExitCode.STATE
    assert path.read_bytes() == TEXT.encode()
    assert names(path.parent) == ["mapping.toml"]


@posix_modes
def test_a_read_only_file_is_not_replaced(path):
    path.chmod(0o444)
    editor = opened(path)
    with pytest.raises(StateError, match="read-only"):
        editor.save("# 1", no_sleep)
    assert path.read_bytes() == TEXT.encode()


def test_a_folder_that_is_not_there_is_an_error_of_the_disk(tmp_path):
    editor = opened(tmp_path / "none" / "mapping.toml")
    with pytest.raises(StateError):
        editor.save("# 1", no_sleep)


def hold(monkeypatch, times):
    """Makes the next renames fail as Windows does while another program has the file open."""
    replace, left = Path.replace, [times]

    def held(self, target):
        if left[0]:
            left[0] -= 1
            raise PermissionError(errno.EACCES, "being used by another process")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", held)


def test_a_file_that_another_program_holds_is_tried_for_two_seconds(path, monkeypatch):
    editor = opened(path)
    waits = []
    hold(monkeypatch, 10)
    assert editor.save("# 1", waits.append)
    assert sum(waits) == pytest.approx(2)
    assert path.read_text() == "# 1"


def test_a_file_that_stays_held_is_left_as_it_was(path, monkeypatch):
    editor = opened(path)
    hold(monkeypatch, 1000)
    with pytest.raises(StateError, match="used by another process"):
        editor.save("# 1", lambda _: None)
    assert path.read_bytes() == TEXT.encode()
    assert names(path.parent) == ["mapping.toml"]


@posix_modes
def test_permissions_stay_and_a_link_stays_a_link(path, tmp_path):
    path.chmod(0o640)
    link = tmp_path / "links" / "mapping.toml"
    link.parent.mkdir()
    link.symlink_to(path)
    editor = opened(link)
    assert editor.save("# 1", no_sleep)
    assert link.is_symlink()
    assert path.read_text() == "# 1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.with_name("mapping.toml.bak").stat().st_mode) == 0o640
    assert names(link.parent) == ["mapping.toml"]


@posix_modes
def test_a_new_file_has_the_permissions_that_new_files_have(tmp_path):
    other = tmp_path / "other"
    other.touch()
    editor = opened(tmp_path / "mapping.toml")
    editor.save("# 1", no_sleep)
    assert (tmp_path / "mapping.toml").stat().st_mode == other.stat().st_mode


def test_a_platform_without_owners_and_folder_syncs_does_without(path, monkeypatch):
    editor = opened(path)
    monkeypatch.delattr(os, "chown", raising=False)
    monkeypatch.setattr("kisi.files._FOLDERS_SYNC", False)
    assert editor.save("# 1", no_sleep)
    assert path.read_text() == "# 1"


def test_a_file_that_is_not_utf_8_is_refused_with_its_line(path):
    path.write_bytes(b"# ok\nname = '\xff'\n")
    with pytest.raises(ConfigError, match="line 2: The file is not UTF-8"):
        opened(path)


def test_a_folder_in_its_place_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is a folder, not a file"):
        opened(tmp_path)


# --- validated before it is saved

WINDOWS_TEXT = '\ufeff[[application]]\r\nname = "KES"\r\n'


def test_a_text_that_would_not_load_is_not_saved(sides):
    editor = sides.editor(WINDOWS_TEXT)
    with pytest.raises(ConfigError) as caught:
        editor.save(WINDOWS_TEXT + '[[product]]\r\napplication = "KEZ"\r\nall = 1\r\n')
    assert caught.value.message.startswith("The change was not made, because then:\n")
    assert 'There is no [[application]] of this name; did you mean "KES"?' in caught.value.message
    assert sides.path.read_bytes() == WINDOWS_TEXT.encode()


def test_what_is_saved_is_what_the_editor_knows_from_then_on(sides):
    editor = sides.editor(WINDOWS_TEXT)
    more = WINDOWS_TEXT + '[[application]]\r\nname = "EDR"\r\n'
    assert editor.save(more)
    assert not editor.save(more)
    assert [each.name for each in editor.mapping.applications] == ["KES", "EDR"]
    assert editor.text == more
    assert editor.path == sides.path


def test_what_could_not_be_saved_is_not_taken_for_saved(sides, monkeypatch):
    editor = sides.editor(WINDOWS_TEXT)
    monkeypatch.setattr("os.fsync", _full)
    with pytest.raises(StateError, match="No space left"):
        editor.save(WINDOWS_TEXT.replace("KES", "EDR"))
    assert editor.text == WINDOWS_TEXT
    assert sides.path.read_bytes() == WINDOWS_TEXT.encode()


def _full(_handle):
    raise OSError(28, "No space left on device")


def test_a_missing_file_maps_nothing(sides):
    editor = opened(sides.path)
    assert editor.text == ""
    assert editor.mapping.companies == ()


def test_a_file_that_kisi_would_not_read_is_not_written(sides, monkeypatch):
    editor = sides.editor(WINDOWS_TEXT)
    monkeypatch.setattr(file_module, "MAX_BYTES", 2**20)
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        editor.save("#" * 2**21)
