"""How a caller follows a run, and ends it."""

from __future__ import annotations

import pytest

from kisi.errors import Interrupted, StateError
from kisi.run.result import Message, Stop


def test_a_stop_while_reading_drops_what_is_under_way():
    stop = Stop()
    stop.check()
    stop.request()
    assert stop.requested.is_set()
    assert stop.reading.is_set()
    with pytest.raises(Interrupted, match="before anything was written"):
        stop.check()


def test_a_stop_while_writing_leaves_what_is_under_way():
    stop = Stop(writing=True)
    stop.request()
    assert stop.requested.is_set()
    assert not stop.reading.is_set()


def test_a_step_of_progress_is_told_until_the_run_is_to_end():
    stop, steps = Stop(), []
    report = stop.checked(lambda *step: steps.append(step))
    report("hq", 1, 2)
    stop.checked(None)("hq", 2, 2)
    stop.request()
    with pytest.raises(Interrupted):
        report("hq", 2, 2)
    assert steps == [("hq", 1, 2)]


def test_a_message_is_its_text_and_that_of_an_error_says_what_to_do():
    assert str(Message("Reading.")) == "Reading."
    assert not Message("Reading.").is_warning
    error = StateError("The disk is full.", remedy="Make room.")
    message = Message.of(error)
    assert str(message) == "The disk is full. Make room."
    assert (message.is_warning, message.error) == (True, error)
    assert (
        str(Message.of(StateError("The disk\x1b is full.\nYes."))) == "The disk\\x1b is full.\nYes."
    )
