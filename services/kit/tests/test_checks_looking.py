"""Who looks, and what happens when a check cannot: plug-ins that hang, raise, lie, or cannot be loaded."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from dominie_contracts.guardrail import PolicyFile
from dominie_kit.checks.apart import NotLooked
from dominie_kit.checks.doctor import probe
from dominie_kit.checks.installed import Installed, installed
from dominie_kit.checks.lists import read_lists
from dominie_kit.checks.looking import ALL, Found, Looking
from dominie_kit.checks.texts import MOST

pytestmark = pytest.mark.anyio
PLUGINS = """
import re

class Good:
    finds, linear = ("good.four", "good.long"), False
    def look(self, text):
        print("to nobody")
        return (["good.four"] if "four" in text else []) + (["good.long"] if len(text) > 9 else [])

class Hangs(Good):
    finds = ("hangs",)
    def look(self, text):
        return re.match("(a+)+b", "a" * 64)

class Raises(Good):
    finds, linear = ("raises",), True
    def look(self, text):
        raise ValueError(text)

class Lies(Good):
    finds, linear = ("lies.known",), True
    def look(self, text):
        return [text]

class LiesApart(Lies):
    finds, linear = ("lies-apart",), False

class Ends(Good):
    finds = ("ends",)
    def look(self, text):
        raise SystemExit(0)

class Misnamed(Good):
    finds = ("pii.email",)
"""
NAMES = {
    "good": "Good",
    "hangs": "Hangs",
    "raises": "Raises",
    "lies": "Lies",
    "lies-apart": "LiesApart",
    "ends": "Ends",
    "misnamed": "Misnamed",
    "gone": "Gone",
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    """A machine with a package of plug-ins more, installed as any is."""
    (tmp_path / "some_plugins.py").write_text(PLUGINS)
    (tmp_path / "some_crash.py").write_text("raise RuntimeError('boom')")
    meta = tmp_path / "some_plugins-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: some-plugins\nVersion: 1.0\n")
    rows = [f"{name} = some_plugins:{kind}" for name, kind in NAMES.items()]
    (meta / "entry_points.txt").write_text("\n".join(["[dominie.checks]", *rows, "crash = some_crash:Any", ""]))
    monkeypatch.syspath_prepend(tmp_path)
    installed.cache_clear()
    yield installed()
    installed.cache_clear()


def test_the_doctor_says_so(here: Installed) -> None:
    rows = {each.name: each for each in probe()}
    assert rows["checks of content"].holds and "pii" in rows["checks of content"].found
    assert "RuntimeError: boom" in rows["check 'crash'"].todo and not rows["check 'crash'"].holds


async def look(here: Installed, text: str, *sought: str, cpu_s: float = 10) -> Found:
    return await Looking(here, cpu_s=cpu_s).look({"a": text}, frozenset(sought))


def test_what_cannot_be_loaded_is_named(here: Installed) -> None:
    assert here.broken["crash"] == "RuntimeError: boom"
    assert "must be called 'misnamed'" in here.broken["misnamed"]
    assert here.broken.keys() == {"crash", "misnamed", "gone"}


async def test_a_plug_in_looks_apart(here: Installed) -> None:
    found = await look(here, "four", "good.four")
    assert found == Found({"/a": ("good.four",)}, ("good",), {})
    assert (await look(here, "4" * 10, "good.four")).kinds == ("good.long",)


async def test_only_what_is_asked_for_looks(here: Installed) -> None:
    found = await look(here, "dana@example.com", "secret.jwt", "unchecked")
    assert (found.kinds, found.checked) == ((), ("secret",))
    assert (await look(here, "dana@example.com")).checked == ()


@pytest.mark.parametrize(
    "name", ["hangs", "raises", "lies", "lies-apart", "ends", "crash", "gone", "nowhere", "injection"]
)
async def test_a_check_that_cannot_look_is_said_and_the_others_look(here: Installed, name: str) -> None:
    found = await look(here, "dana@example.com", name, "pii.email", cpu_s=1)
    assert found.kinds == ("pii.email", "unchecked")
    assert found.checked == ("pii",)
    assert found.failed.keys() == {name}
    assert "dana@" not in found.failed[name]


async def test_what_hangs_is_ended_by_the_processors_time_it_took(here: Installed) -> None:
    assert "1 s of the processor's time" in (await look(here, "x", "hangs", cpu_s=1)).failed["hangs"]


async def test_everything_is_asked_for_at_once(here: Installed) -> None:
    sound = Installed({name: here.checks[name] for name in ("pii", "secret", "good")}, {}, here.found_at)
    lists = read_lists([PolicyFile(name="deny.rivals.txt", text="mallory")])
    found = await Looking(sound, cpu_s=10).look("mallory: dana@example.com, four", frozenset({ALL}), lists=lists)
    assert found.kinds == ("deny.rivals", "good.four", "good.long", "pii.email")
    assert found.checked == ("deny.rivals", "good", "pii", "secret")


async def test_a_large_text_is_looked_at_beside_the_service(here: Installed) -> None:
    begun, ticks = anyio.Event(), 0

    async def tick() -> None:
        nonlocal ticks
        while not begun.is_set():
            ticks += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        found = await look(here, "x " * 250_000 + "dana@example.com", "pii", "secret")
        begun.set()
    assert found.kinds == ("pii.email",)
    assert ticks > 1


async def test_too_much_text_is_not_looked_at(here: Installed) -> None:
    found = await look(here, "a" * (MOST + 1), "pii.email", "secret.jwt")
    assert (found.too_large, found.kinds, found.checked) == (True, ("unchecked",), ())
    assert found.failed.keys() == {"pii", "secret"}


async def test_a_deny_list_that_is_not_there_is_said(here: Installed) -> None:
    found = await look(here, "x", "deny.rivals")
    assert found.failed == {"deny.rivals": "there is no such deny list"}


async def test_who_waits_for_others_may_fail_too(here: Installed) -> None:
    async def ask(given: object) -> list[str]:
        raise NotLooked("late")

    found = await Looking(here, cpu_s=1).look("x", frozenset({"injection"}), asked={"injection": ask})
    assert found.failed == {"injection": "late"}
