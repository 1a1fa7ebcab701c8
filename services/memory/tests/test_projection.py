"""The read model: what it finds, and that it can always be built again from the log."""

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dominie_contracts import Recorded
from dominie_contracts.memory import MEMORY, Remembered, TurnAdded
from dominie_eventstore import Projector
from dominie_kit.handler_testing import Desk, term
from dominie_memory.aggregate import Scope, memory_scope, turn_scope
from dominie_memory.projection import Library

pytestmark = pytest.mark.anyio

DANA = memory_scope("user", "u-dana")
SHARED = memory_scope("shared", "")
WORDS = st.sampled_from(["tea", "coffee", "e-mail", "Zoë", "running", "runs", "42"])
EVENTS = st.tuples(
    st.sampled_from(["acme", "other"]),
    st.sampled_from(["user", "shared", "turn"]),
    st.sampled_from(["u-dana", "u-erin"]),
    st.lists(WORDS, min_size=1, max_size=5).map(" ".join),
)


async def keep(desk: Desk, *texts: str, tenant: str = "acme", namespace: str = "user", user: str = "u-dana") -> None:
    for text in texts:
        id = f"{tenant}{(await desk.store.last_position()) + 1}"
        event: Remembered | TurnAdded = Remembered(id=id, namespace=namespace, subject=user, text=text)
        if namespace == "turn":
            event = TurnAdded(id=id, session="t-1", subject=user, role="user", text=text)
        await desk.append(MEMORY, id, event, tenant=tenant)


def seen(library: Library) -> dict[str, object]:
    """Everything that can be asked."""
    found: dict[str, object] = {}
    for tenant in ("acme", "other"):
        for scope in (DANA, memory_scope("user", "u-erin"), SHARED):
            hits = library.search(tenant, scope, "tea coffee mail zoe run 42", 50)
            found[f"{tenant} {scope}"] = (hits, library.memories(tenant, scope, [hit.id for hit in hits]))
        turns = turn_scope("t-1", "u-dana")
        found[f"{tenant} turns"] = library.turns(tenant, turns, library.last_turns(tenant, turns, 3))
    return found


def search(library: Library, question: str, scope: Scope = DANA, limit: int = 5) -> list[str]:
    hits = library.search("acme", scope, question, limit)
    texts = library.memories("acme", scope, [hit.id for hit in hits])
    return [str(texts[hit.id].envelope.data["text"]) for hit in hits]


async def test_the_best_fit_comes_first(desk: Desk, library: Library) -> None:
    noise = [f"note number {number} about the weather" for number in range(20)]
    await keep(desk, "Dana was running late", "Dana runs marathons and trains for marathons", *noise)
    await desk.caught_up()
    hits = library.search("acme", DANA, "Which MARATHON does she run?", 5)
    assert search(library, "Which MARATHON does she run?")[:2] == [
        "Dana runs marathons and trains for marathons",
        "Dana was running late",
    ]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(hit.score > 0 for hit in hits)


async def test_accents_and_case_do_not_matter(desk: Desk, library: Library) -> None:
    await keep(desk, "Zoë lives in MÜNCHEN")
    await desk.caught_up()
    assert search(library, "munchen") == search(library, "ZOE") == ["Zoë lives in MÜNCHEN"]


async def test_a_limit_keeps_the_newest_of_equals(desk: Desk, library: Library) -> None:
    await keep(desk, *(f"tea {number}" for number in range(5)))
    await desk.caught_up()
    assert search(library, "tea", limit=2) == ["tea 4", "tea 3"]


@pytest.mark.parametrize(
    "question",
    [
        '"',
        "tea*",
        "tea AND",
        "NOT tea",
        "text:tea",
        "scope:1",
        "NEAR(tea",
        "(tea",
        "^tea",
        "tea -x",
        "{text}: tea",
        "\0",
    ],
)
async def test_a_question_is_never_syntax(desk: Desk, library: Library, question: str) -> None:
    await keep(desk, "tea")
    await keep(desk, "tea of somebody else", user="u-erin")
    await desk.caught_up()
    assert search(library, question) in (["tea"], [])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=100))
async def test_any_text_can_be_kept_and_asked(desk: Desk, library: Library, text: str) -> None:
    user = f"u-{await desk.store.last_position()}"
    await keep(desk, f"{text} tea", user=user)
    await desk.caught_up()
    assert search(library, f"{text} tea", memory_scope("user", user)) == [f"{text} tea"]
    assert search(library, text, memory_scope("user", user)) in ([f"{text} tea"], [])


@pytest.mark.parametrize("question", ["", " ", "?!", "_", "- -"])
async def test_a_question_without_words_finds_nothing(desk: Desk, library: Library, question: str) -> None:
    await keep(desk, "tea _ ?!")
    await desk.caught_up()
    assert search(library, question) == []


@settings(max_examples=25, deadline=None)
@given(events=st.lists(EVENTS, max_size=15), cut=st.integers(0, 15))
async def test_rebuilt_restarted_and_live_are_equal(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, str, str, str]], cut: int
) -> None:
    desk, folder = Desk("memory"), tmp_path_factory.mktemp("memory")
    for tenant, namespace, user, text in events:
        await keep(desk, text, tenant=tenant, namespace=namespace, user=user)
    log = [event async for event in desk.store.read_all(category=MEMORY)]
    with Library(folder / "live", term).open() as live:
        feed(live, log[:cut])
        feed(live, log)
        expected = seen(live)
        live.reset()
        feed(live, log, batched=True)
        assert seen(live) == expected
    with Library(folder / "live", term).open() as restarted:
        assert restarted.position == (log[-1].position if log else 0)
        assert seen(restarted) == expected


def feed(library: Library, log: list[Recorded], *, batched: bool = False) -> None:
    """Apply events as a projector does; one that was applied before comes again."""
    if batched:
        library.hold()
    for event in log:
        library.apply(event)
    if batched:
        library.release()


@pytest.mark.parametrize("harm", ["remove", "garble", "cut", "register"])
async def test_a_file_that_is_lost_or_broken_is_built_again(tmp_path: Path, harm: str) -> None:
    desk, folder = Desk("memory"), tmp_path / "memory"
    await keep(desk, "tea", "coffee")
    await keep(desk, "tea", tenant="other")
    log = [event async for event in desk.store.read_all(category=MEMORY)]
    with Library(folder, term).open() as library:
        feed(library, log)
        expected = seen(library)
    damage(folder, harm)
    with Library(folder, term).open() as library:
        assert library.position < log[-1].position
        feed(library, [event for event in log if event.position > library.position])
        assert seen(library) == expected


def damage(folder: Path, harm: str) -> None:
    """Harm one file of a closed library."""
    path = folder / ("acme.sqlite" if harm != "register" else ".register.sqlite")
    match harm:
        case "garble":
            path.write_bytes(b"no database" * 1000)
        case "cut":
            path.write_bytes(path.read_bytes()[:4096])
        case _:
            path.unlink()


async def followed(desk: Desk, library: Library) -> Projector:
    """Until the library has caught up, rebuilt if another version left it."""
    projector = Projector(desk.store, library, name="test", category=MEMORY)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(projector.run)
            await projector.caught_up.wait()
            group.cancel_scope.cancel()
    return projector


@pytest.mark.parametrize("moved", [0, 1, 2, 3])
async def test_a_rebuild_that_dies_while_it_switches_is_whole_at_any_file(tmp_path: Path, moved: int) -> None:
    desk, folder = Desk("memory"), tmp_path / "memory"
    await keep(desk, "tea", "coffee")
    await keep(desk, "tea", tenant="other")
    with Library(folder, term).open() as library:
        await followed(desk, library)
        expected = seen(library)
        built = library.fresh()
        feed(built, [event async for event in desk.store.read_all(category=MEMORY)], batched=True)
        built.close()
    for name in ("acme.sqlite", "other.sqlite", ".register.sqlite")[:moved]:
        (folder / ".next" / name).replace(folder / name)
    with Library(folder, term).open() as library:
        assert library.unfinished
        projector = await followed(desk, library)
        assert seen(library) == expected
        await projector.rebuild()
        assert (seen(library), library.unfinished) == (expected, False)
    assert sorted(path.name for path in folder.iterdir()) == [".register.sqlite", "acme.sqlite", "other.sqlite"]


@pytest.mark.parametrize("known", [False, True], ids=["before the register", "with the register"])
async def test_what_a_rebuild_left_is_not_gone_on_with_when_all_is_built_anew(tmp_path: Path, known: bool) -> None:
    desk, folder = Desk("memory"), tmp_path / "memory"
    await keep(desk, "tea", "coffee")
    with Library(folder, term).open() as library:
        await followed(desk, library)
        expected = seen(library)
        built = library.fresh()
        feed(built, [event async for event in desk.store.read_all(category=MEMORY)])
        built._file("acme").db.execute("DELETE FROM memories")
        built.close()
        if not known:
            (folder / ".next" / ".register.sqlite").unlink()
        projector = await followed(desk, library)
        await projector.rebuild(anew=True)
        assert (seen(library), library.unfinished) == (expected, False)


async def test_files_of_another_version_are_built_anew_and_are_not_read(tmp_path: Path) -> None:
    desk, folder = Desk("memory"), tmp_path / "memory"
    await keep(desk, "tea", "coffee")
    with Library(folder, term).open() as library:
        await followed(desk, library)
        expected = seen(library)
    with closing(sqlite3.connect(folder / "acme.sqlite")) as db:
        db.execute("PRAGMA user_version = 77")
    with Library(folder, term).open() as library:
        assert (library.outdated, library.serves) == (True, False)
        await followed(desk, library)
        assert (seen(library), library.outdated) == (expected, False)
