"""Keeps kisi from locking its own account: how many logins may be refused before it stops."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from kisi.errors import LoginRefused, SourceError
from kisi.sources.ksc.problems import PasswordRefused, Place

_TOLERATED = 2
"""Refusals on virtual servers while the main server accepts the login: rights are missing there,
or the account is about to be locked."""


class Logins:
    """Lets logins on virtual servers through, as long as that is safe. Thread-safe.

    A wrong password or a blocked account ends all further logins. Other refusals end them at the
    second one; logins under way count as if they were refused, so that several workers together
    do not go beyond that either once the first was refused.
    """

    def __init__(self) -> None:
        self._state = threading.Condition()
        self._under_way = 0
        self._refused = 0
        self._closed = ""

    @contextmanager
    def one_more(self, place: Place) -> Iterator[None]:
        """Around one login.

        Raises:
            SourceError: No further login is tried; says why.
        """
        with self._state:
            self._state.wait_for(self._may_go)
            if self._closed:
                raise place.error(
                    SourceError, f"kisi did not log in, to keep the account usable: {self._closed}"
                )
            self._under_way += 1
        try:
            yield
        except LoginRefused as refusal:
            self._note(refusal)
            raise
        finally:
            with self._state:
                self._under_way -= 1
                self._state.notify_all()

    def _may_go(self) -> bool:
        return bool(self._closed) or self._refused + self._under_way < _TOLERATED

    def _note(self, refusal: LoginRefused) -> None:
        with self._state:
            self._refused += 1
            if isinstance(refusal, PasswordRefused):
                self._closed = "the password was refused on another virtual server of this source."
            elif self._refused >= _TOLERATED:
                self._closed = (
                    f"{self._refused} virtual servers of this source have refused the login."
                )
