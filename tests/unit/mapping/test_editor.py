from __future__ import annotations

import pytest

from kisi.errors import ConfigError, StateError
from kisi.mapping import editor as editor_module
from kisi.mapping.editor import MappingEditor

TEXT = '\ufeff[[application]]\r\nname = "KES"\r\n'


def test_a_text_that_would_not_load_is_not_saved(sides):
    editor = sides.editor(TEXT)
    with pytest.raises(ConfigError) as caught:
        editor.save(TEXT + '[[product]]\r\napplication = "KEZ"\r\nall = 1\r\n')
    assert caught.value.message.startswith("The change was not made, because then:\n")
    assert 'There is no [[application]] of this name; did you mean "KES"?' in caught.value.message
    assert sides.path.read_bytes() == TEXT.encode()


def test_what_is_saved_is_what_the_editor_knows_from_then_on(sides):
    editor = sides.editor(TEXT)
    more = TEXT + '[[application]]\r\nname = "EDR"\r\n'
    assert editor.save(more)
    assert not editor.save(more)
    assert [each.name for each in editor.mapping.applications] == ["KES", "EDR"]
    assert editor.draft.text == more
    assert editor.path == sides.path


def test_what_could_not_be_saved_is_not_taken_for_saved(sides, monkeypatch):
    editor = sides.editor(TEXT)
    monkeypatch.setattr("os.fsync", _full)
    with pytest.raises(StateError, match="No space left"):
        editor.save(TEXT.replace("KES", "EDR"))
    assert editor.draft.text == TEXT
    assert sides.path.read_bytes() == TEXT.encode()


def _full(_handle):
    raise OSError(28, "No space left on device")


def test_a_missing_file_maps_nothing(sides):
    opened = MappingEditor.open(sides.path, sources=["hq"], psas=["cw"])
    assert opened.draft.text == ""
    assert opened.mapping.companies == ()


def test_a_file_that_kisi_would_not_read_is_not_written(sides, monkeypatch):
    editor = sides.editor(TEXT)
    monkeypatch.setattr(editor_module, "MAX_BYTES", 2**20)
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        editor.save("#" * 2**21)
