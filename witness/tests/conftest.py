"""A witness with a folder of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dominie.cosignatures import Cosigner
from dominie_witness.state import State
from dominie_witness.testing import NOW, OURS
from dominie_witness.witness import Witness


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "witness")


@pytest.fixture
def cosigner(state: State) -> Cosigner:
    return state.create("witness.example/w1")


@pytest.fixture
def reopened(state: State, cosigner: Cosigner) -> Callable[[], Witness]:
    """The witness, as it is after a restart."""
    return lambda: Witness(State(state.folder), State(state.folder).cosigner(), [OURS.verifier], lambda: NOW)


@pytest.fixture
def witness(reopened: Callable[[], Witness]) -> Witness:
    return reopened()
