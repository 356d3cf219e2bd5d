"""Fixtures that the tests of this room share."""

from __future__ import annotations

import pytest

from models.small_models import small_model
from narravid.models.dual_encoder import S3DDualEncoder


@pytest.fixture
def model() -> S3DDualEncoder:
    return small_model()
