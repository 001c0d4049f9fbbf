"""Client names at the press of Tab."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from kisi.cli import app
from kisi.cli.completion import client_names
from tests.conftest import posix_shell


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.delenv("KISI_CONFIG", raising=False)
    (tmp_path / "kisi.toml").write_text('mapping = "clients.toml"\n')
    rows = "".join(
        f'[[company]]\nname = "{name}"\n'
        for name in ("Contoso", "Conto & Söhne", "Fabrikam", "Contoso", "a\\u001bb")
    )
    (tmp_path / "clients.toml").write_text("\ufeff" + rows, encoding="utf-8")
    return tmp_path / "kisi.toml"


def completed(typed, config=None):
    return client_names(SimpleNamespace(params={"config": config}), typed)


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("", ["Conto & Söhne", "Contoso", "Fabrikam"]),
        ("conto", ["Conto & Söhne", "Contoso"]),
        ("söh", ["Conto & Söhne"]),
        ("x", []),
    ],
)
def test_names_that_begin_with_what_was_typed_or_else_hold_it(config, typed, names):
    assert completed(typed, config) == names


def test_the_configuration_is_found_where_the_command_would_find_it(config, monkeypatch):
    monkeypatch.setenv("KISI_CONFIG", str(config))
    assert completed("fab") == ["Fabrikam"]
    monkeypatch.delenv("KISI_CONFIG")
    monkeypatch.chdir(config.parent)
    assert completed("fab") == ["Fabrikam"]


def test_without_a_kisi_toml_here_the_platforms_folder_is_looked_in(tmp_path, config, monkeypatch):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_, **__: config.parent)
    assert completed("fab") == ["Fabrikam"]


@pytest.mark.parametrize("text", ["[[company", "company = 1\n", "[[company]]\nname = 7\n", "\xff"])
def test_whatever_is_wrong_completion_stays_silent(config, text, capsys):
    (config.parent / "clients.toml").write_bytes(text.encode("latin-1"))
    assert completed("", config) == []
    assert completed("", config.parent / "none.toml") == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("word", "completed"),
    [("con", ["Conto\\ \\&\\ Söhne", "Contoso"]), ('"con', ["Conto & Söhne", "Contoso"])],
)
def test_bash_gets_names_that_stay_one_word(config, capsys, monkeypatch, word, completed):
    monkeypatch.chdir(config.parent)
    monkeypatch.setenv("_KISI_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"kisi\npreview\n--client\n{word}")
    monkeypatch.setenv("COMP_CWORD", "3")
    with pytest.raises(SystemExit):
        app(prog_name="kisi")
    assert capsys.readouterr().out.splitlines() == completed


HOSTILE = (
    "a$(id)",
    "a`id`",
    'a"; id; "',
    "a'; id; '",
    "a\\",
    "a!id",
    "a\u2019; id",
    "a\nid",
    "a\x1b[2J",
)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell", "pwsh"])
def test_a_name_that_a_shell_could_run_is_left_out(config, capsys, monkeypatch, shell):
    rows = "".join(f"[[company]]\nname = {json.dumps(name)}\n" for name in (*HOSTILE, "ab; id"))
    (config.parent / "clients.toml").write_text(rows, encoding="utf-8")
    monkeypatch.chdir(config.parent)
    monkeypatch.setenv("_KISI_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", 'kisi\npreview\n--client\n"a')
    monkeypatch.setenv("COMP_CWORD", "3")
    assert completed("a") == ["'ab; id'" if shell in {"powershell", "pwsh"} else "ab; id"]
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", 'kisi preview --client "a')
    with pytest.raises(SystemExit):
        app(prog_name="kisi")
    assert not set(capsys.readouterr().out) & set("\\`$!\x1b")


@posix_shell
@pytest.mark.parametrize(
    "typed", ["kisi preview --client '", 'kisi preview --client "', "kisi preview --client "]
)
def test_what_bash_completes_is_one_word_whatever_quote_is_open(config, monkeypatch, typed):
    rows = "".join(f"[[company]]\nname = {json.dumps(name)}\n" for name in (*HOSTILE, "ab; id"))
    (config.parent / "clients.toml").write_text(rows, encoding="utf-8")
    monkeypatch.setenv("_KISI_COMPLETE", "complete_bash")
    quote = typed[-1].strip()
    monkeypatch.setenv("COMP_WORDS", typed.replace(" ", "\n"))
    (word,) = completed("a", config)
    line = f"printf %s {quote}{word}{quote}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "ab; id"


def test_completion_loads_nothing_heavy():
    code = (
        "import sys, kisi.cli.completion;"
        "heavy = {'pydantic', 'requests', 'sqlite3', 'kisi.config'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
