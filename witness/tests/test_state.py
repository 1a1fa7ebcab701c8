"""A witness that forgot what it signed signs nothing."""

from pathlib import Path

import pytest

from dominie.cosignatures import Cosigner
from dominie.notes import BadKey
from dominie_witness.state import InUse, NoWitness, State, StateGone
from dominie_witness.testing import OURS, Log


def test_a_key_is_made_once_and_kept_from_others(state: State) -> None:
    key = state.create("witness.example/w1").key
    assert key.name == "witness.example/w1"
    assert state.create("another").key == State(state.folder).cosigner().key == key
    assert (state.folder / "witness.key").stat().st_mode & 0o777 == 0o600


def test_without_a_name_it_is_called_after_its_key(tmp_path: Path) -> None:
    one, other = (State(tmp_path / name).create(None).key for name in "ab")
    assert one.name.startswith("dominie-witness/") and one.name != other.name


@pytest.mark.parametrize("name", ["two words", "a+b"])
def test_what_is_no_name_makes_no_key(state: State, name: str) -> None:
    with pytest.raises(BadKey):
        state.create(name)
    assert not (state.folder / "witness.key").exists()


def test_where_there_is_none_it_says_so(state: State) -> None:
    with pytest.raises(NoWitness, match="witness serve"):
        state.cosigner()


def test_a_key_without_what_it_signed_is_refused(state: State, cosigner: Cosigner) -> None:
    (state.folder / "logs").rmdir()
    with pytest.raises(StateGone, match="put it back"):
        state.create(None)


def test_a_damaged_key_is_refused(state: State, cosigner: Cosigner) -> None:
    (state.folder / "witness.key").write_text("PRIVATE+KEY+")
    with pytest.raises(StateGone, match="is no key"):
        state.create(None)


@pytest.mark.parametrize("text", ["", "dominie/test\n3\n", Log.of(3).note()[:40]])
def test_a_damaged_checkpoint_is_refused(state: State, cosigner: Cosigner, text: str) -> None:
    state.store(OURS.name, text)
    with pytest.raises(StateGone, match="is no checkpoint"):
        state.last(OURS.name)


def test_a_checkpoint_of_another_log_is_refused(state: State, cosigner: Cosigner) -> None:
    state.store("another", Log.of(3).note())
    with pytest.raises(StateGone, match="is of 'dominie/test'"):
        state.last("another")


def test_one_process_at_a_time(state: State) -> None:
    with state.held():
        with pytest.raises(InUse), State(state.folder).held():
            pytest.fail("two hold it")
    with state.held():
        pass
