"""A bundle holds, or says from where on it does not; whatever is done to it."""

import base64
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from io import BytesIO
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie.bundles import (
    MAX_LINE_BYTES,
    BadBundle,
    BadEvent,
    CutShort,
    EndDiffers,
    Garbled,
    Trailing,
    Verified,
    bundle,
    verify_bundle,
)
from dominie.merkle import leaf_hash, node_hash
from dominie.merkle_path import Known
from dominie.notes import Checkpoint, NotProven, OtherLog, ProofProblem, Signer
from dominie_contracts import Draft
from dominie_contracts.audit import BundleHead, Leaf, Selection
from dominie_contracts.envelope import GENESIS

OURS = Signer("dominie/test", b"k" * 32)
THEIRS = Signer("dominie/test", b"t" * 32)
KEY = OURS.verifier
STREAMS = "abcabcaab"
"""Of nine events."""
Lines = list[bytes]


def root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(root(leaves[:left]), root(leaves[left:]))


def proof(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """As RFC 6962 (2.1.1) says it."""
    if len(leaves) == 1:
        return []
    left = 1 << (len(leaves) - 1).bit_length() - 1
    if index < left:
        return [*proof(index, leaves[:left]), root(leaves[left:])]
    return [*proof(index - left, leaves[left:]), root(leaves[:left])]


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@cache
def events() -> tuple[bytes, ...]:
    ends = dict.fromkeys(STREAMS, (0, GENESIS))
    found = []
    for number, name in enumerate(STREAMS):
        version, prev = ends[name]
        draft = Draft(
            id=f"e{number}",
            source="dominie/test",
            type="tool.finished.v1",
            time=datetime(2026, 7, 2, tzinfo=UTC),
            actor="a-desk",
            data=json.dumps({"result": f'"{number}" \u20ac'}, ensure_ascii=False),
        )
        raw = draft.seal(f"acme.tool.{name}", "acme", version=version + 1, prev=prev)
        ends[name] = (version + 1, sha256(raw).hexdigest())
        found.append(raw)
    return tuple(found)


def written(*chosen: int, stored: Sequence[bytes] | None = None, by: Signer = OURS) -> Lines:
    """A bundle of these events."""
    stored = stored or events()
    hashes = [leaf_hash(raw) for raw in stored]
    note = by.sign(Checkpoint(by.name, len(hashes), root(hashes)).text)
    leaves = [
        Leaf(
            position=(index + 1) * 256,
            index=index,
            raw=b64(stored[index]),
            proof=tuple(map(b64, proof(index, hashes))),
        )
        for index in chosen
    ]
    return list(bundle(BundleHead(key=str(by.verifier), selection=Selection(run="r1"), checkpoint=note), leaves))


def wrong(lines: Lines) -> ProofProblem:
    with pytest.raises(ProofProblem) as found:
        verify_bundle(lines, KEY)
    return found.value


def edited(line: bytes, **changed: object) -> bytes:
    return json.dumps(json.loads(line) | changed, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def ended(lines: Lines, **changed: object) -> Lines:
    """The end as somebody writes it who changed the lines before it."""
    return [*lines[:-1], edited(lines[-1], sha256=sha256(b"".join(lines[:-1])).hexdigest(), **changed)]


@given(
    st.lists(st.binary(max_size=8), min_size=1, max_size=70).flatmap(
        lambda leaves: st.tuples(st.just(leaves), st.sets(st.integers(0, len(leaves) - 1)))
    )
)
def test_every_leaf_is_proven_in_any_tree_and_no_other_is(found: tuple[list[bytes], set[int]]) -> None:
    leaves, chosen = found
    hashes = [leaf_hash(leaf) for leaf in leaves]
    one, other, said = Known(len(leaves), root(hashes)), Known(len(leaves), root(hashes)), 0
    for index in sorted(chosen):
        part = one.part(index, proof(index, hashes))
        said += len(part)
        assert not other.proves(index, leaf_hash(b"another leaf"), part)
        assert one.proves(index, hashes[index], part)
        assert other.proves(index, hashes[index], part)
        assert not other.proves(index, hashes[index], part)
    assert said < len(leaves) * 2


def test_all_leaves_of_a_tree_say_each_hash_once() -> None:
    hashes = [leaf_hash(bytes([number])) for number in range(64)]
    known, said = Known(64, root(hashes)), list[bytes]()
    for index in range(64):
        part = known.part(index, proof(index, hashes))
        assert known.proves(index, hashes[index], part)
        said += part
    assert len(said) == len(set(said)) == 63


@given(st.sets(st.integers(0, 8), min_size=1))
def test_a_bundle_holds(chosen: set[int]) -> None:
    found = verify_bundle(written(*sorted(chosen)), KEY)
    assert (found.end.events, found.checkpoint.size, found.head.selection) == (len(chosen), 9, Selection(run="r1"))


@pytest.mark.parametrize(
    ("chosen", "streams", "whole"),
    [
        (range(9), 3, 3),
        ((0, 3), 1, 1),
        ((0, 6), 1, 0),
        ((3, 6), 1, 0),
        ((0, 1, 4, 5), 3, 2),
    ],
)
def test_it_says_of_how_many_streams_none_is_missing(chosen: Sequence[int], streams: int, whole: int) -> None:
    end = verify_bundle(written(*chosen), KEY).end
    assert (end.streams, end.whole) == (streams, whole)


@given(st.data())
def test_a_bundle_with_any_byte_changed_does_not_hold(data: st.DataObject) -> None:
    whole = b"".join(written(0, 1, 4, 8))
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[at] ^ data.draw(st.integers(1, 255))
    found = wrong(_lines(whole[:at] + bytes([flipped]) + whole[at + 1 :]))
    starts = list(accumulate(map(len, written(0, 1, 4, 8))))
    if isinstance(found, BadEvent):
        assert at >= starts[found.line - 2] or at < starts[0]


@given(st.integers(min_value=0))
def test_a_bundle_cut_anywhere_does_not_hold(at: int) -> None:
    whole = b"".join(written(0, 1, 4, 8))
    assert isinstance(wrong(_lines(whole[: at % len(whole)])), CutShort)


def _lines(text: bytes) -> Lines:
    return BytesIO(text).readlines()


def _event(text: str) -> Callable[[Lines], Lines]:
    return lambda lines: [*lines[:2], edited(lines[2], event=text), *lines[3:]]


@pytest.mark.parametrize(
    ("change", "kind", "line"),
    [
        pytest.param(lambda each: [*each, b"\n"], Trailing, 12, id="a line too many"),
        pytest.param(lambda each: [*each, b"x"], Trailing, 12, id="a byte too many"),
        pytest.param(lambda each: [*each, *each], Trailing, 12, id="twice"),
        pytest.param(lambda each: each[:-1], CutShort, 11, id="without its end"),
        pytest.param(lambda each: [], CutShort, 1, id="empty"),
        pytest.param(lambda each: [each[0][:-1]], CutShort, 1, id="cut in its head"),
        pytest.param(lambda each: each[1:], Garbled, 1, id="without its head"),
        pytest.param(lambda each: [b"{}\n", *each[1:]], Garbled, 1, id="another file"),
        pytest.param(lambda each: [edited(each[0], bundle="dominie/bundle/2")], Garbled, 1, id="a later version"),
        pytest.param(lambda each: [each[0], b"[]\n"], Garbled, 2, id="no event"),
        pytest.param(lambda each: [each[0], b" " + each[1]], Garbled, 2, id="a space"),
        pytest.param(lambda each: [each[0], each[1].replace(b"{", b'{"index":0,', 1)], Garbled, 2, id="a field twice"),
        pytest.param(lambda each: [each[0], b"x" * MAX_LINE_BYTES], Garbled, 2, id="an endless line"),
        pytest.param(lambda each: [each[0], *each[2:]], BadEvent, 2, id="the first event dropped"),
        pytest.param(lambda each: [*each[:3], *each[4:]], BadEvent, 4, id="an event dropped"),
        pytest.param(lambda each: [*each[:4], *each[5:]], EndDiffers, 10, id="one that the next do not need dropped"),
        pytest.param(lambda each: [*each[:9], *each[10:]], EndDiffers, 10, id="the last event dropped"),
        pytest.param(lambda each: [*each[:2], each[3], each[2], *each[4:]], BadEvent, 4, id="two swapped"),
        pytest.param(lambda each: [*each[:3], each[2], *each[3:]], BadEvent, 4, id="an event twice"),
        pytest.param(_event("{}"), BadEvent, 3, id="another event"),
        pytest.param(_event("\u20ac" * 9), BadEvent, 3, id="no JSON"),
        pytest.param(lambda each: [*each[:2], edited(each[2], index=2), *each[3:]], BadEvent, 3, id="another index"),
        pytest.param(lambda each: [*each[:2], edited(each[2], index=-1), *each[3:]], BadEvent, 3, id="no index"),
        pytest.param(lambda each: [*each[:2], edited(each[2], index=10**30), *each[3:]], BadEvent, 3, id="far"),
        pytest.param(lambda each: [*each[:2], edited(each[2], proof=["!"]), *each[3:]], BadEvent, 3, id="no hash"),
        pytest.param(lambda each: [*each[:3], edited(each[3], position=512), *each[4:]], BadEvent, 4, id="position"),
        pytest.param(lambda each: [edited(each[0], selection={}), *each[1:]], EndDiffers, 11, id="selection"),
        pytest.param(lambda each: [edited(each[0], key="x"), *each[1:]], EndDiffers, 11, id="the key it names"),
        pytest.param(lambda each: [*each[:-1], edited(each[-1], whole=2)], EndDiffers, 11, id="what is whole"),
    ],
)
def test_what_was_done_to_it_is_named(change: Callable[[Lines], Lines], kind: type[BadBundle], line: int) -> None:
    with pytest.raises(kind) as raised:
        verify_bundle(change(written(*range(9))), KEY)
    found = raised.value
    assert type(found) is kind
    assert found.line == line


def test_the_first_bad_event_is_named_by_its_places() -> None:
    lines = written(*range(9))
    found = wrong([*lines[:5], lines[5].replace(b"a-desk", b"a-dosk"), lines[6].replace(b"desk", b"dosk"), *lines[7:]])
    assert isinstance(found, BadEvent)
    assert (found.line, found.index, found.position) == (6, 4, 1280)
    assert "event 5 of the bundle, at position 1280" in found.detail


@pytest.mark.parametrize("change", [lambda each: each, lambda each: ended(each)])
def test_a_bundle_of_another_log_does_not_hold(change: Callable[[Lines], Lines]) -> None:
    theirs = written(*range(9), by=THEIRS)
    assert isinstance(wrong(change(theirs)), OtherLog)
    head = json.loads(written(0)[0])
    other = edited(theirs[0], checkpoint=head["checkpoint"].replace("\n9\n", "\n8\n"))
    assert isinstance(wrong(change([other, *theirs[1:]])), NotProven)


def test_events_of_another_log_under_our_checkpoint_do_not_hold() -> None:
    others = [raw.replace(b"a-desk", b"a-disk") for raw in events()]
    found = wrong(ended([written(0)[0], *written(0, 1, 2, stored=others)[1:]]))
    assert isinstance(found, BadEvent) and found.line == 2


def test_whoever_writes_it_anew_without_an_event_has_fewer_whole_streams() -> None:
    assert verify_bundle(written(*range(9)), KEY).end.whole == 3
    assert verify_bundle(written(*range(3), *range(4, 9)), KEY).end.whole == 2
    assert isinstance(wrong(ended(written(*range(3), *range(4, 9)), whole=3)), EndDiffers)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raws: [raws[0], *raws[3:4]], "`prev`"),
        (lambda raws: [raws[0], raws[0]], "version 1 of its stream comes after version 1"),
    ],
)
def test_a_log_whose_chain_is_broken_makes_no_bundle(
    change: Callable[[Sequence[bytes]], Sequence[bytes]], said: str
) -> None:
    stored = list(change(events()))
    stored[0] = stored[0].replace(b"a-desk", b"a-disk") if said == "`prev`" else stored[0]
    with pytest.raises(BadEvent, match=said):
        written(0, 1, stored=stored)


def test_a_proof_that_does_not_hold_makes_no_bundle() -> None:
    hashes = [leaf_hash(raw) for raw in events()]
    note = OURS.sign(Checkpoint(OURS.name, 9, root(hashes)).text)
    leaf = Leaf(position=256, index=0, raw=b64(b"other"), proof=tuple(map(b64, proof(0, hashes))))
    with pytest.raises(NotProven, match="position 256"):
        list(bundle(BundleHead(key=str(KEY), selection=Selection(), checkpoint=note), [leaf]))


@given(st.lists(st.binary()))
def test_no_bytes_are_a_bundle_by_chance(lines: Lines) -> None:
    assert isinstance(wrong(lines), BadBundle)


def test_a_note_that_others_signed_too_is_as_good() -> None:
    lines = written(0, 1)
    head = json.loads(lines[0])
    cosigned = head["checkpoint"] + f"\u2014 witness {b64(b'0' * 76)}\n"
    found = verify_bundle(ended([edited(lines[0], checkpoint=cosigned), *lines[1:]]), KEY)
    assert isinstance(found, Verified)
