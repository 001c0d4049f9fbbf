"""The runs that several tests look at."""

from __future__ import annotations

import pytest
import render_samples as samples

from kisi.run.result import RunResult


@pytest.fixture
def preview() -> RunResult:
    """A preview of six clients, each with something else to say."""
    return samples.view(samples.six_clients())
