"""Tests run on asyncio alone, as the services do."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
