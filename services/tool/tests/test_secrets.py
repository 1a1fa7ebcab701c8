"""Who keeps which secret, which tools may use it; and that its value stands nowhere."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from dominie_contracts import Forbidden, Invalid, Problem
from dominie_contracts.egress import Network
from dominie_contracts.secrets import SECRET, KeepSecret, ListSecrets, RemoveSecret
from dominie_contracts.tool import Profile, ToolSpec
from dominie_kit.context import Context
from dominie_kit.handler_testing import Desk
from dominie_tool.secrets.handlers import Keeping, Vault
from dominie_tool.secrets.projection import Kept

pytestmark = pytest.mark.anyio
VALUE = "s3cr3t-of-dana"
KEEP = KeepSecret(name="API_KEY", value=VALUE, hosts=("api.example.org",), tools=("fetch",))


@pytest.fixture
def kept(desk: Desk) -> Kept:
    found = Kept()
    desk.follow(found, SECRET)
    return found


@pytest.fixture
def keeping(desk: Desk, kept: Kept) -> Keeping:
    return Keeping(desk.store, desk.actions(SECRET), kept, desk.keyring.of)


@pytest.fixture
def vault(desk: Desk, kept: Kept) -> Vault:
    return Vault(kept, desk.keyring.of)


def developer(desk: Desk, name: str = "u-dana") -> Context:
    return replace(desk.context(agent=name), claims=None, person=None, groups=("developers",))


def spec(name: str, *secrets: str) -> ToolSpec:
    network = Network(hosts=("api.example.org",), secrets=secrets)
    return ToolSpec(name=name, input_schema={}, kind="sandboxed", profile=Profile(network=network))


async def test_a_secret_is_kept_and_opened_for_who_may_use_it(desk: Desk, keeping: Keeping, vault: Vault) -> None:
    found = await keeping.keep(KEEP, developer(desk))
    assert [(each.name, each.hosts, each.tools, each.by) for each in found.secrets] == [
        ("API_KEY", ("api.example.org",), ("fetch",), "u-dana")
    ]
    await desk.caught_up()
    for name, owner in (("fetch", "u-eve"), ("mine", "u-dana")):
        (secret,) = await vault.of("acme", spec(name, "API_KEY"), owner)
        assert (secret.name, secret.value, secret.hosts) == ("API_KEY", VALUE, ("api.example.org",))
    assert await vault.of("acme", spec("fetch"), "u-eve") == ()
    assert await vault.of("acme", ToolSpec(name="fetch", input_schema={}), "u-dana") == ()


async def test_its_value_stands_nowhere(desk: Desk, keeping: Keeping) -> None:
    said = await keeping.keep(KEEP, developer(desk))
    listed = await keeping.all(ListSecrets(), developer(desk))
    events = [event async for event in desk.store.read_all(category=SECRET)]
    assert VALUE not in repr((KEEP, said, listed, [event.envelope for event in events]))
    assert VALUE.encode() not in b"".join(event.raw for event in events)
    assert "sealed" in events[0].envelope.data


async def test_a_tool_of_somebody_else_may_not_use_it(desk: Desk, keeping: Keeping, vault: Vault) -> None:
    await keeping.keep(KEEP, developer(desk))
    await desk.caught_up()
    with pytest.raises(Forbidden, match="u-dana keeps it, and can name the tool"):
        await vault.of("acme", spec("other", "API_KEY"), "u-eve")
    for tenant, name in (("globex", "API_KEY"), ("acme", "API_KEY_2")):
        with pytest.raises(Invalid, match="none is kept"):
            await vault.of(tenant, spec("fetch", name), "u-dana")


async def test_another_takes_its_place_and_removed_it_is_gone(desk: Desk, keeping: Keeping, vault: Vault) -> None:
    await keeping.keep(KEEP, developer(desk))
    await keeping.keep(KEEP.model_copy(update={"value": "another-secret", "tools": ()}), developer(desk, "u-eve"))
    await desk.caught_up()
    (secret,) = await vault.of("acme", spec("fetch", "API_KEY"), "u-eve")
    assert secret.value == "another-secret"
    with pytest.raises(Forbidden):
        await vault.of("acme", spec("fetch", "API_KEY"), "u-dana")
    await keeping.remove(RemoveSecret(name="API_KEY"), developer(desk))
    await desk.caught_up()
    with pytest.raises(Invalid, match="none is kept"):
        await vault.of("acme", spec("fetch", "API_KEY"), "u-eve")
    assert (await keeping.all(ListSecrets(), developer(desk))).secrets == ()
    with pytest.raises(Invalid, match="no secret 'API_KEY'"):
        await keeping.remove(RemoveSecret(name="API_KEY"), developer(desk))


async def test_sealed_elsewhere_it_does_not_open(desk: Desk, keeping: Keeping, vault: Vault, kept: Kept) -> None:
    await keeping.keep(KEEP, developer(desk))
    await keeping.keep(KEEP.model_copy(update={"name": "OTHER", "value": "other-secret"}), developer(desk))
    await desk.caught_up()
    one, other = kept.find("acme", "API_KEY"), kept.find("acme", "OTHER")
    assert one is not None and other is not None
    await desk.append(SECRET, "API_KEY", one.model_copy(update={"sealed": other.sealed}))
    await desk.caught_up()
    with pytest.raises(Invalid, match="set it again"):
        await vault.of("acme", spec("fetch", "API_KEY"), "u-dana")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"value": "short"}, "8 to 4096 characters"),
        ({"value": "x" * 4097}, "8 to 4096 characters"),
        ({"value": "with\nline-break"}, "visible ASCII"),
        ({"value": "with\0nothing-in-it"}, "visible ASCII"),
        ({"value": " space-before"}, "visible ASCII"),
        ({"value": "höchst-geheim"}, "visible ASCII"),
        ({"name": "LD_PRELOAD"}, "means something else"),
        ({"name": "PATH"}, "means something else"),
        ({"name": "HTTPS_PROXY"}, "means something else"),
    ],
    ids=lambda each: None if isinstance(each, str) else next(iter(each)),
)
async def test_what_is_no_secret_is_refused_and_nothing_is_written(
    desk: Desk, keeping: Keeping, changed: dict[str, str], why: str
) -> None:
    with pytest.raises(Invalid, match=why) as raised:
        await keeping.keep(KEEP.model_copy(update=changed), developer(desk))
    assert "value" not in changed or changed["value"] not in raised.value.detail
    assert await desk.types(SECRET) == []


@pytest.mark.parametrize(
    "changed", [{"hosts": ()}, {"hosts": ("*",)}, {"hosts": ("127.0.0.1",)}, {"hosts": ("localhost",)}, {"name": "a-b"}]
)
def test_a_secret_has_a_name_and_hosts(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KeepSecret.model_validate({**KEEP.model_dump(), **changed})


@pytest.mark.parametrize("ask", ["keep", "remove", "all"])
async def test_secrets_are_for_developers(desk: Desk, keeping: Keeping, ask: str) -> None:
    commands: dict[str, tuple[Callable[..., Any], Any]] = {
        "keep": (keeping.keep, KEEP),
        "remove": (keeping.remove, RemoveSecret(name="API_KEY")),
        "all": (keeping.all, ListSecrets()),
    }
    handler, command = commands[ask]
    with pytest.raises(Problem, match="no developer"):
        await handler(command, desk.context())
    assert await desk.types(SECRET) == []
