"""The runs that several tests look at."""

from __future__ import annotations

import pytest
import render_samples as samples

from kisi.render.plan_view import PlanView


@pytest.fixture
def preview() -> PlanView:
    """A preview of six clients, each with something else to say."""
    return samples.view(samples.six_clients())
