from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kisi.errors import ExitCode, Interrupted, Locked, StateError
from kisi.lock import holder, is_running, run_lock
from tests.conftest import WINDOWS

STARTED = datetime(2026, 11, 2, 3, 0, tzinfo=UTC)
HOLD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from kisi.lock import run_lock
with run_lock(Path(sys.argv[1]), started=datetime(2026, 11, 2, 3, 0, tzinfo=UTC)):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_run(state: Path) -> Iterator[subprocess.Popen[str]]:
    """A real process that holds the lock until its input ends, or it is killed."""
    command = [sys.executable, "-c", HOLD, str(state)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process


def test_the_lock_makes_its_folder_and_says_who_holds_it_while_it_is_held(tmp_path: Path) -> None:
    state = tmp_path / "a" / "state"
    with run_lock(state, started=STARTED):
        known = holder(state)
        assert known
        assert (known.pid, known.host) == (os.getpid(), socket.gethostname())
        assert known.started == "2026-11-02T03:00:00+00:00"

    assert holder(state) is None
    assert WINDOWS or state.stat().st_mode & 0o777 == 0o700


def test_a_second_run_is_refused_within_a_second_and_told_who_holds_the_lock(
    tmp_path: Path,
) -> None:
    with another_run(tmp_path) as other:
        began = time.monotonic()
        with pytest.raises(Locked) as refused, run_lock(tmp_path):
            pytest.fail("two runs at once")
        waited = time.monotonic() - began

        assert waited < 1
        assert refused.value.exit_code is ExitCode.LOCKED
        assert f"process {other.pid} on" in refused.value.message
        assert "started 2026-11-02T03:00:00+00:00" in refused.value.message
        assert "--lock-timeout" in refused.value.remedy
        known = holder(tmp_path)
        assert known
        assert known.pid == other.pid


def test_a_run_that_may_wait_goes_on_when_the_other_has_ended(tmp_path: Path) -> None:
    with another_run(tmp_path) as other:
        assert other.stdin
        other.stdin.close()
        with run_lock(tmp_path, timeout=30):
            known = holder(tmp_path)
            assert known
            assert known.pid == os.getpid()


def test_the_lock_of_a_killed_run_is_free_at_once(tmp_path: Path) -> None:
    with another_run(tmp_path) as other:
        other.kill()
        other.wait()
        left = holder(tmp_path)
        assert left
        assert left.pid == other.pid

        with run_lock(tmp_path, timeout=0):
            known = holder(tmp_path)
            assert known
            assert (known.pid, known.started) == (os.getpid(), "")


def test_the_lock_is_free_after_a_run_that_failed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), run_lock(tmp_path):
        raise RuntimeError
    with run_lock(tmp_path):
        assert holder(tmp_path)


@pytest.mark.parametrize(
    "said", ["", "[]", "{}", '{"pid": "x", "host": "", "started": ""}', "\xff"]
)
def test_a_garbled_word_of_the_holder_is_no_holder(tmp_path: Path, said: str) -> None:
    (tmp_path / "kisi.lock.json").write_text(said, encoding="latin-1")

    assert holder(tmp_path) is None


def test_the_holders_word_is_cut_to_a_sane_length(tmp_path: Path) -> None:
    said = {"pid": 1, "host": "h" * 9999, "started": "s" * 9999}
    (tmp_path / "kisi.lock.json").write_text(json.dumps(said))

    assert len(str(holder(tmp_path))) < 200


def test_a_lock_that_nobody_can_describe_is_still_a_lock(tmp_path: Path) -> None:
    with another_run(tmp_path):
        (tmp_path / "kisi.lock.json").unlink()
        with (
            pytest.raises(Locked, match=r"holds the lock of \S+\. This run did nothing"),
            run_lock(tmp_path),
        ):
            pytest.fail("two runs at once")


def test_a_holder_that_cannot_leave_its_word_holds_the_lock_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "kisi.lock.json.part").mkdir()
    with run_lock(tmp_path):
        assert holder(tmp_path) is None


def test_a_folder_that_cannot_be_used_is_said_with_what_to_do(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("")

    with pytest.raises(StateError, match="lock in the state folder") as refused, run_lock(state):
        pytest.fail("no lock, no run")
    assert "state_dir" in refused.value.remedy


def test_a_stop_ends_the_waiting_for_another_run(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with another_run(tmp_path) as other:
        with (
            pytest.raises(Interrupted, match="while another run held the lock"),
            run_lock(tmp_path, timeout=3600, stop=stop),
        ):
            pytest.fail("two runs at once")
        known = holder(tmp_path)
        assert known
        assert known.pid == other.pid


def test_a_run_goes_on_as_long_as_its_process_exists(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    with another_run(tmp_path) as other:
        assert is_running(tmp_path)
        other.kill()
        other.wait()
        assert holder(tmp_path)
        assert not is_running(tmp_path)  # whatever it left behind


@pytest.mark.parametrize(
    ("host", "error"), [("elsewhere", None), (socket.gethostname(), PermissionError)]
)
def test_what_cannot_be_asked_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, error: type[OSError] | None
) -> None:
    said = {"pid": 2**22 + 1, "host": host, "started": ""}
    (tmp_path / "kisi.lock.json").write_text(json.dumps(said), encoding="utf-8")

    def kill(_pid: int, _signal: int) -> None:
        assert error
        raise error

    monkeypatch.setattr("kisi.lock.os.kill", kill)
    with (tmp_path / "kisi.lock").open("w"):  # for Windows, where an open file is asked
        assert is_running(tmp_path)
