"""Failed assertions of the contracts show their values, as those of test modules do."""

import pytest

pytest.register_assert_rewrite("tests.contract.psa", "tests.contract.sources")
