"""`kisi schedule`: what is printed is what the examples show, and works with any path."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from kisi.cli import run
from kisi.cli.schedule import Installation, Kind, own_command, schedule_files
from kisi.errors import ConfigError

ROOT = Path(__file__).parents[3]
SPACE = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
CREDENTIALS = ("hq-password", "cw-public-key", "cw-private-key", "cw-client-id")
LINUX = Installation(
    ("/usr/local/bin/kisi",), "/etc/kisi/kisi.toml", "/var/lib/kisi", "kisi", CREDENTIALS
)
WINDOWS = Installation(
    (r"C:\Program Files\kisi\Scripts\kisi.exe",),
    r"C:\ProgramData\kisi\kisi.toml",
    r"C:\ProgramData\kisi",
    r".\kisi",
)
posix = pytest.mark.skipif(sys.platform == "win32", reason="has no systemd and no cron")
HERE = "windows" if sys.platform == "win32" else "cron"
ELSEWHERE = "cron" if sys.platform == "win32" else "windows"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "kisi.toml"
    source = ROOT / "examples" / "minimal" / "kisi.toml"
    state = f"state_dir = '{tmp_path}'\n"
    path.write_text(state + source.read_text(encoding="utf-8"), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("kind", "installation"),
    [(Kind.SYSTEMD, LINUX), (Kind.CRON, LINUX), (Kind.WINDOWS, WINDOWS)],
    ids=lambda each: str(each) if isinstance(each, Kind) else "",
)
def test_the_examples_are_what_is_printed(kind, installation):
    for name, text in schedule_files(kind, installation).items():
        assert text == (ROOT / "examples" / kind / name).read_text(encoding="utf-8"), name


def test_every_page_names_the_same_time_of_day():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*")]
    pages = [page for page in pages if page.is_file() and page.suffix != ".csv"]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    assert set(re.findall(r"/ST (\S+)", text)) <= {"06:30"}
    assert set(re.findall(r"^(\d+ \d+) \* \* \* kisi", text, re.MULTILINE)) == {"30 6"}
    assert not re.search(r"\b0?3:15\b", text)


def test_a_unit_quotes_paths_and_lets_kisi_into_a_home_folder():
    home = Installation(
        ("/home/a b/bin/kisi",), "/home/a b/50%$x.toml", "/home/a b/state", "ab", ("x",), "05:09"
    )
    files = schedule_files(Kind.SYSTEMD, home)
    unit = files["kisi.service"].splitlines()
    command = 'ExecStart="/home/a b/bin/kisi" sync --config "/home/a b/50%%$$x.toml"'
    for line in (
        command,
        "User=ab",
        "LoadCredential=x:/home/a b/secrets/x",
        'ReadWritePaths="/home/a b/state"',
        "ProtectHome=read-only",
    ):
        assert line in unit
    assert not any(line.startswith("StateDirectory") for line in unit)
    assert "OnCalendar=*-*-* 05:09:00" in files["kisi.timer"]
    by_hand = shlex.split(files["kisi-by-hand"].partition("exec ")[2])
    assert '--property=ReadWritePaths="/home/a b/state"' in by_hand
    assert "--setenv=KISI_CONFIG=/home/a b/50%$x.toml" in by_hand
    assert by_hand[-2:] == ["/home/a b/bin/kisi", "$@"]


def test_a_cron_line_quotes_for_the_shell_and_for_cron():
    one = Installation(("/opt/k i/kisi",), "/etc/50%.toml", "/var/lib/kisi", "kisi", at="23:05")
    line = schedule_files(Kind.CRON, one)["kisi.cron"].splitlines()[-1]
    fields, command = line.split(" ", 6)[:6], line.split(" ", 6)[6]
    assert fields == ["5", "23", "*", "*", "*", "kisi"]
    assert not re.search(r"(?<!\\)%", command)
    words = shlex.split(command.replace(r"\%", "%"))  # as cron hands it to the shell
    assert words[:4] == ["/opt/k i/kisi", "sync", "--config", "/etc/50%.toml"]


def test_a_task_is_xml_whatever_the_paths_are_and_has_no_variables():
    one = Installation((r"C:\R&D <1>\kisi.exe",), "C:\\Büro\\kisi.toml", r"C:\R&D", r"H&Q\kisi")
    text = schedule_files(Kind.WINDOWS, one)["kisi-task.xml"]
    assert text.isascii()  # and so right in every encoding that it may be read in
    task = ET.fromstring(text)
    arguments = task.findtext(".//t:Arguments", namespaces=SPACE)
    assert '"C:\\R&D <1>\\kisi.exe" sync --quiet --config "C:\\Büro\\kisi.toml" >> ' in arguments
    assert '>> "C:\\R&D\\schedule.log" 2>&1"' in arguments
    assert task.findtext(".//t:UserId", namespaces=SPACE) == r"H&Q\kisi"
    assert task.findtext(".//t:WorkingDirectory", namespaces=SPACE) == r"C:\R&D"
    with pytest.raises(ConfigError, match="% for a variable"):
        schedule_files(Kind.WINDOWS, Installation(("kisi",), r"C:\50%\kisi.toml", "C:\\", "kisi"))


@pytest.mark.skipif(sys.platform != "win32", reason="the real command line parser is Windows'")
def test_the_real_command_prompt_takes_the_line_apart(tmp_path):
    folder = tmp_path / "Büro & Söhne (1)"
    folder.mkdir()
    missing = folder / "kisi.toml"
    program = Path(sys.executable).with_name("kisi.exe")
    command = (str(program),) if program.exists() else (sys.executable, "-m", "kisi")
    one = Installation(command, str(missing), str(folder), "kisi")
    task = ET.fromstring(schedule_files(Kind.WINDOWS, one)["kisi-task.xml"])
    arguments = task.findtext(".//t:Arguments", namespaces=SPACE)
    ended = subprocess.run(f"cmd.exe {arguments}", check=False, timeout=300)
    assert ended.returncode == 3
    assert str(missing) in (folder / "schedule.log").read_text(encoding="utf-8")


def test_a_schedule_names_this_installation(config, capsys):
    assert run(["schedule", HERE, "--config", str(config), "--at", "04:05", "--account", "x"]) == 0
    told = capsys.readouterr()
    assert str(config) in told.out
    assert own_command()[0] in told.out
    assert "04:05" in told.out or "\n5 4 * * * x " in told.out
    assert "install" in told.err or '/RU "x" /RP' in told.err
    assert "takes secrets from KISI_HQ_PASSWORD, KISI_CW_PUBLIC_KEY" in told.err


def test_a_schedule_is_written_into_a_folder(config, tmp_path, capsys):
    made = tmp_path / "made"
    command = ["schedule", HERE, "--config", str(config), "--output", str(made), "--quiet"]
    assert run(command) == 0
    assert capsys.readouterr().out == ""
    (file,) = made.iterdir()
    assert str(config) in file.read_text(encoding="utf-8")
    (tmp_path / "taken").touch()
    assert run([*command[:-2], str(tmp_path / "taken")]) == 8
    assert "Choose another --output" in capsys.readouterr().err


@posix
def test_a_state_folder_that_depends_on_the_account_is_pointed_out(config, capsys):
    text = config.read_text(encoding="utf-8").partition("\n")[2]
    config.write_text(text, encoding="utf-8")
    assert run(["schedule", "cron", "--config", str(config)]) == 0
    assert "sets no state_dir" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--at", "24:00"], ["--at", "6:30"]])
def test_a_time_that_is_none_is_refused(config, capsys, wrong):
    assert run(["schedule", HERE, "--config", str(config), *wrong]) == 2
    assert "06:30" in capsys.readouterr().err


def test_another_systems_schedule_is_refused(config, capsys):
    assert run(["schedule", ELSEWHERE, "--config", str(config)]) == 2
    assert f"no {ELSEWHERE} on this machine" in capsys.readouterr().err


def test_the_programs_own_path_is_taken(monkeypatch, tmp_path):
    program = tmp_path / "kisi.exe"
    program.touch()
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "kisi")])  # as the launcher of Windows has it
    assert own_command() == (str(program),)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "__main__.py")])
    assert own_command() == (sys.executable, "-m", "kisi")
