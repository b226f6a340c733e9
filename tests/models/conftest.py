"""A model for the tests of the zoo."""

import pytest
from tiny_models import tiny_depth_model


@pytest.fixture(scope="session")
def tiny_model() -> bytes:
    return tiny_depth_model()
