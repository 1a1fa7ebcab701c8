"""Labels: how they join, how many sources they hold, who may read what has several."""

import hashlib
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dominie_contracts.provenance import LEVELS, MAX_SOURCES, NOTHING, Integrity, Label, both, join, may_read

READERS = st.none() | st.lists(
    st.sampled_from(["ada@x.org", "bob@x.org", "@x.org", "eve@y.org", "@y.org"]), max_size=3, unique=True
).map(lambda found: tuple(sorted(found)))
LABELS = st.builds(
    Label,
    integrity=st.sampled_from(get_args(Integrity)),
    readers=READERS,
    sources=st.lists(st.integers(0, 9).map("tool:{}".format), max_size=3, unique=True).map(tuple),
)


def test_the_levels_are_those_that_policies_know() -> None:
    assert [LEVELS[each] for each in get_args(Integrity)] == [4, 3, 2, 1, 0]


@given(st.lists(LABELS, max_size=5))
def test_a_join_is_the_worst_for_the_fewest_from_everywhere(labels: list[Label]) -> None:
    found = join(labels)
    assert found.level == min((label.level for label in labels), default=4)
    assert set(found.sources) == {source for label in labels for source in label.sources}
    for who in ("ada@x.org", "bob@x.org", "eve@y.org", "mal@z.org"):
        assert may_read(who, found.readers) == all(may_read(who, label.readers) for label in labels)


@given(LABELS, LABELS, LABELS)
def test_a_join_does_not_depend_on_the_order(one: Label, two: Label, three: Label) -> None:
    first, second = join((join((one, two)), three)), join((three, join((two, one))))
    assert (first.integrity, set(first.sources)) == (second.integrity, set(second.sources))
    assert join((one, NOTHING)) == one and join((one, one)).level == one.level


def test_of_many_sources_the_worst_are_named_and_the_others_are_in_a_digest() -> None:
    many = tuple(f"tool:{number:03}" for number in range(40))
    clean = [Label(integrity="record", sources=(source,)) for source in many]
    found = join((*clean, Label(integrity="untrusted", sources=("tool:page",))))
    rest = hashlib.sha256("\n".join(many[31:]).encode()).hexdigest()
    assert found.sources == ("tool:page", *many[:31], f"sha256:{rest}")
    assert join((found, Label(integrity="user"))).sources == found.sources
    assert len(join((found, Label(integrity="user", sources=("tool:z",)))).sources) == MAX_SOURCES + 1
    with pytest.raises(ValidationError):
        Label(integrity="user", sources=many)


def test_a_domain_is_everybody_there_and_nobody_beside() -> None:
    assert both(("@x.org", "eve@y.org"), ("ADA@x.org", "@y.org")) == ("ADA@x.org", "eve@y.org")
    assert may_read("Ada@X.org", ("@x.org",))
    assert not any(may_read(who, ("@x.org",)) for who in ("ada@evilx.org", "ada@x.org.evil", "x.org", "*", ""))
    assert both((), None) == () and not may_read("ada@x.org", ())
    assert both(("@X.org",), ("@x.org",)) == ("@X.org", "@x.org")


@pytest.mark.parametrize("apart", [", ", ";", " ", ":", "@", '"', "<"])
def test_several_recipients_in_one_text_are_not_the_last_of_them(apart: str) -> None:
    assert not may_read(f"eve@evil.org{apart}bob@x.org", ("@x.org",))
    assert not may_read(f"eve{apart}bob@x.org", ("@x.org",))


@pytest.mark.parametrize("who", ["eve@straße.de", "@x.org.evil", "eve@evil.org (x@x.org", "bob@x.org, eve@evil.org"])
def test_what_only_looks_like_a_domain_is_another(who: str) -> None:
    assert not may_read(who, ("@strasse.de", "@x.org"))


def test_a_name_that_is_no_address_is_one_of_the_readers_as_a_whole() -> None:
    assert may_read("Team, North", ("team, north",)) and may_read("eve", ("Eve",))
    assert not may_read("north", ("team, north",)) and may_read("\uff21da@x.org", ("ada@x.org",))
