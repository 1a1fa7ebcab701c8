"""Forged, replayed, widened, expired, misdirected tokens and exchanges, on a real broker: refused, and nothing written.

Everything goes over raw connections; what is signed is signed with the right keys where only the claims are wrong.
"""

import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

import dominie
from dominie.keys import KeyPair
from dominie_contracts import Command, Invalid, Message, Problem, Unauthenticated
from dominie_contracts.identity import Done, Revoke, Suspend
from dominie_contracts.plans import Plan, PlanStep
from dominie_contracts.runs import (
    Delegate,
    Delegations,
    EndDelegation,
    EndRun,
    ExchangeRun,
    MintRunToken,
    RunToken,
)
from dominie_contracts.subjects import segment_stream
from dominie_contracts.token import Grants
from dominie_identity import build
from dominie_identity.adapters.nats_jwt import from_base64, to_base64
from dominie_identity.settings import Settings
from dominie_kit.edge.run_tokens import RunTokenVerifier
from dominie_kit.testing import House, Peer, assertion, connected, house, is_refused, serving

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
BOTH, REFUND = Grants(tools=("refund", "mail")), Grants(tools=("refund",))
AGENTS = {"lead": BOTH, "helper": REFUND, "other": BOTH, "idle": BOTH}
PEOPLE = ("dana", "erin", "gone")
USER = "u-dana"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Scene:
    """Identity alone; agents of u-dana's, people, and the same names in another tenant."""

    house: House
    keys: dict[str, KeyPair] = field(default_factory=dict)
    peers: dict[str, Peer] = field(default_factory=dict)

    async def events(self) -> int:
        """How many events there are of principals and runs, in every tenant."""
        stream, log = self.house.operator.client.jetstream(), segment_stream(0)
        found = [await stream.stream_info(log, subjects_filter=f"evt.0.*.{name}.*") for name in ("principal", "run")]
        return sum(sum((info.state.subjects or {}).values()) for info in found)

    async def ask(self, who: str, command: Command, reply: type[Message], token: str | None = None) -> Any:
        return await self.peers[who].ask(command, reply, token=token)

    async def minted(self, who: str = "lead", **more: object) -> str:
        """A right run token, of a run of its own unless one is named."""
        command = MintRunToken.model_validate({"user": USER, "run": uuid.uuid4().hex, **more})
        return str((await self.ask(who, command, RunToken)).token)

    def forged(self, token: str, signer: KeyPair | None = None, **changed: object) -> str:
        """The token with other claims, rightly signed unless another signer is named; None takes a claim away."""
        _, claims, _ = token.split(".")
        found = {**json.loads(from_base64(claims)), **changed}
        key = signer or self.house.keys.identity.signer
        right = {name: value for name, value in found.items() if value is not None}
        return jwt.encode({"alg": "Ed25519", "typ": "JWT"}, right, key.jwk, algorithms=["Ed25519"])

    def signed_by(self, who: str = "dana", *, run: str, agent: str = "a-lead", **more: object) -> str:
        """A subject token, as the sdk signs it; `principal` and `tenant` are what it says of the signer."""
        person = dominie.Credentials("", str(more.pop("tenant", "acme")), f"u-{who}", self.keys[who])
        given: dict[str, Any] = {"grants": BOTH, "until_s": int(time.time()) + 3600, **more}
        return person.subject_token(agent, run, **given)

    def resigned(self, who: str, token: str, **changed: object) -> str:
        """A subject token with other claims, rightly signed."""
        return self.forged(token, self.keys[who], **changed)


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with house(tmp_path_factory.mktemp("house")) as found, AsyncExitStack() as stack:
        settings = Settings(nats_url=found.url, keys=found.keys.path, state=found.keys.path / "state")
        await stack.enter_async_context(serving(build(settings)))
        scene = Scene(found)
        for name in PEOPLE:
            scene.keys[name] = await found.register(f"u-{name}", groups=("developers",) if name == "dana" else ())
        scene.keys["abroad-dana"] = await found.register(USER, tenant="abroad")
        for name, grants in AGENTS.items():
            users = () if name == "idle" else (USER,)
            scene.keys[name] = await found.register(f"a-{name}", grants=grants, sponsor=USER, users=users)
        scene.keys["abroad"] = await found.register("a-lead", tenant="abroad", grants=BOTH, users=(USER,))
        for name in (*PEOPLE, *AGENTS):
            principal = f"{'u' if name in PEOPLE else 'a'}-{name}"
            entered = connected(found.url, scene.keys[name], "acme", principal)
            scene.peers[name] = await stack.enter_async_context(entered)
        abroad = connected(found.url, scene.keys["abroad"], "abroad", "a-lead")
        scene.peers["abroad"] = await stack.enter_async_context(abroad)
        yield scene


@dataclass(frozen=True)
class Case:
    """What is tried, and the problem that comes of it."""

    name: str
    problem: str
    tries: Callable[[Scene], Awaitable[Callable[[], Awaitable[object]]]]
    """What it needs is done first; the attempt itself is what it returns."""


CASES: list[Case] = []


def case(name: str, problem: str) -> Callable[[Any], Any]:
    def add(tries: Any) -> Any:
        CASES.append(Case(name, problem, tries))
        return tries

    return add


PLAN, OTHER_PLAN = (Plan(steps=(PlanStep(tool=name),)) for name in ("refund", "mail"))
EXCHANGE = ExchangeRun(agent="a-helper", run="part")


def with_token(make: Callable[[Scene, str], str | None]) -> Any:
    """An exchange with what is made of a right token."""

    async def tries(scene: Scene) -> Any:
        token = make(scene, await scene.minted())
        command = EXCHANGE.model_copy(update={"run": uuid.uuid4().hex})
        return lambda: scene.ask("lead", command, RunToken, token)

    return tries


def cut(token: str) -> str:
    return token.rpartition(".")[0] + "." + to_base64(b"s" * 64)


def widened(token: str) -> str:
    head, claims, signature = token.split(".")
    found = json.loads(from_base64(claims))
    found["authorization_details"][0]["grants"]["tools"] = ["*"]
    return f"{head}.{to_base64(json.dumps(found).encode())}.{signature}"


def of_algorithm(token: str, algorithm: str, scene: Scene) -> str:
    claims = json.loads(from_base64(token.split(".")[1]))
    if algorithm == "none":
        return f"{to_base64(json.dumps({'alg': 'none'}).encode())}.{token.split('.')[1]}."
    key = OctKey.import_key(scene.house.keys.signer.encode())
    return jwt.encode({"alg": algorithm}, claims, key, algorithms=[algorithm])


ACT = "spiffe://dominie.local/acme/agent/lead"
STRANGE = b'{"alg": "Ed25519", "typ": "JWT", "kid": "strange"}'
NOW = int(time.time())


def chain(*ids: str) -> dict[str, object]:
    found: dict[str, object] = {"sub": ids[-1]}
    for id_ in reversed(ids[:-1]):
        found = {"sub": id_, "act": found}
    return found


FORGED: list[tuple[str, str, Callable[[Scene, str], str | None]]] = [
    ("none", "unauthenticated", lambda s, t: None),
    ("no token at all", "unauthenticated", lambda s, t: "x"),
    ("three parts of nothing", "unauthenticated", lambda s, t: "e30.e30.e30"),
    ("nested without end", "unauthenticated", lambda s, t: f"{to_base64(b'[' * 9000)}.e30.e30"),
    ("of a key that is not taken", "unauthenticated", lambda s, t: f"{to_base64(STRANGE)}.{t.partition('.')[2]}"),
    ("alg none", "unauthenticated", lambda s, t: of_algorithm(t, "none", s)),
    ("HS256 under the public key", "unauthenticated", lambda s, t: of_algorithm(t, "HS256", s)),
    ("signed by a stranger", "unauthenticated", lambda s, t: s.forged(t, KeyPair.generate())),
    ("signed by the agent", "unauthenticated", lambda s, t: s.forged(t, s.keys["lead"])),
    ("signed by the user", "unauthenticated", lambda s, t: s.forged(t, s.keys["dana"])),
    ("signed by the callout", "unauthenticated", lambda s, t: s.forged(t, s.house.keys.identity.callout_issuer)),
    ("signed by the operator", "unauthenticated", lambda s, t: s.forged(t, s.house.keys.operator)),
    ("another signature", "unauthenticated", lambda s, t: cut(t)),
    ("widened under its signature", "unauthenticated", lambda s, t: widened(t)),
    ("expired", "unauthenticated", lambda s, t: s.forged(t, iat=NOW - 400, exp=NOW - 100)),
    ("of tomorrow", "unauthenticated", lambda s, t: s.forged(t, iat=NOW + 86400, exp=NOW + 86700)),
    ("for an hour", "unauthenticated", lambda s, t: s.forged(t, exp=NOW + 3600)),
    ("for ever", "unauthenticated", lambda s, t: s.forged(t, exp=None)),
    ("since never", "unauthenticated", lambda s, t: s.forged(t, iat=None)),
    ("for connecting", "unauthenticated", lambda s, t: s.forged(t, aud="dominie-connect")),
    ("for a user to sign", "unauthenticated", lambda s, t: s.forged(t, aud="dominie-subject")),
    ("for two audiences", "unauthenticated", lambda s, t: s.forged(t, aud=["dominie", "else"])),
    ("for nobody", "unauthenticated", lambda s, t: s.forged(t, aud=None)),
    ("of another issuer", "unauthenticated", lambda s, t: s.forged(t, iss="somebody")),
    ("without an id", "unauthenticated", lambda s, t: s.forged(t, jti=None)),
    ("without a run", "unauthenticated", lambda s, t: s.forged(t, run=None)),
    ("without a key", "unauthenticated", lambda s, t: s.forged(t, cnf=None)),
    (
        "with an older key",
        "unauthenticated",
        lambda s, t: s.forged(t, cnf={"nkey": s.keys["other"].public}, iat=NOW - 200, exp=NOW + 90),
    ),
    ("with a claim more", "unauthenticated", lambda s, t: s.forged(t, root=True)),
    (
        "of an unknown type",
        "unauthenticated",
        lambda s, t: s.forged(t, authorization_details=[{"type": "dominie-all", "grants": {"tools": ["*"]}}]),
    ),
    (
        "with grants twice",
        "unauthenticated",
        lambda s, t: s.forged(t, authorization_details=[{"type": "dominie", "grants": {}}] * 2),
    ),
    (
        "with a negative ceiling",
        "unauthenticated",
        lambda s, t: s.forged(t, authorization_details=[{"type": "dominie-ceiling", "run": "r", "max_cost_usd": -1}]),
    ),
    ("by a plain name", "unauthenticated", lambda s, t: s.forged(t, act={"sub": "a-lead"})),
    ("by a path that climbs", "unauthenticated", lambda s, t: s.forged(t, act={"sub": ACT + "/../other"})),
    ("by a person", "forbidden", lambda s, t: s.forged(t, act={"sub": "spiffe://dominie.local/acme/user/dana"})),
    ("by another agent", "forbidden", lambda s, t: s.forged(t, act={"sub": ACT.replace("lead", "other")})),
    ("of another tenant", "unauthenticated", lambda s, t: s.forged(t, tenant="abroad")),
    (
        "of another tenant throughout",
        "forbidden",
        lambda s, t: s.forged(t, tenant="abroad", act={"sub": ACT.replace("acme", "abroad")}),
    ),
    (
        "through another tenant",
        "unauthenticated",
        lambda s, t: s.forged(t, act=chain(ACT, ACT.replace("acme", "abroad"))),
    ),
    (
        "through another trust domain",
        "unauthenticated",
        lambda s, t: s.forged(t, act=chain(ACT, ACT.replace("dominie.local", "else.local"))),
    ),
    ("through nine agents", "unauthenticated", lambda s, t: s.forged(t, act=chain(*[ACT] * 9))),
    ("a subject token", "unauthenticated", lambda s, t: s.signed_by(run="r")),
    ("an assertion", "unauthenticated", lambda s, t: assertion(s.keys["lead"], "acme", "a-lead")),
]
CASES += [Case(f"a run token {name}", problem, with_token(make)) for name, problem, make in FORGED]


@case("a run token of another agent, rightly minted", "forbidden")
async def _(scene: Scene) -> Any:
    token = await scene.minted("other")
    return lambda: scene.ask("lead", EXCHANGE, RunToken, token)


@case("a run token of the same name abroad, rightly minted", "forbidden")
async def _(scene: Scene) -> Any:
    token = await scene.minted("abroad")
    return lambda: scene.ask("lead", EXCHANGE, RunToken, token)


@case("a part's token, shown by whoever handed it on", "forbidden")
async def _(scene: Scene) -> Any:
    part = EXCHANGE.model_copy(update={"run": uuid.uuid4().hex})
    token = (await scene.ask("lead", part, RunToken, await scene.minted())).token
    return lambda: scene.ask("lead", EXCHANGE, RunToken, token)


@case("a run token of a run that was ended", "unauthenticated")
async def _(scene: Scene) -> Any:
    token = await scene.minted(run="ended-1")
    await scene.ask("dana", EndRun(run="ended-1"), Done)
    return lambda: scene.ask("lead", EXCHANGE, RunToken, token)


@case("a part's token, of a run that was ended", "unauthenticated")
async def _(scene: Scene) -> Any:
    part = EXCHANGE.model_copy(update={"run": "part-of-ended"})
    token = (await scene.ask("lead", part, RunToken, await scene.minted(run="ended-2"))).token
    await scene.ask("dana", EndRun(run="ended-2"), Done)
    return lambda: scene.ask("helper", EXCHANGE.model_copy(update={"agent": "a-other"}), RunToken, token)


@case("another token for a part of a run that was ended", "forbidden")
async def _(scene: Scene) -> Any:
    part = EXCHANGE.model_copy(update={"run": "part-of-ended-3"})
    run = (await scene.ask("lead", part, RunToken, await scene.minted(run="ended-3"))).run
    await scene.ask("dana", EndRun(run="ended-3"), Done)
    return lambda: scene.minted("helper", run=run)


def exchanging(**changed: object) -> Any:
    """An exchange of a right token that may spend 50, for something wrong."""

    async def tries(scene: Scene) -> Any:
        token = await scene.minted(run=uuid.uuid4().hex, max_cost_usd=50)
        fields = {"agent": "a-helper", "run": uuid.uuid4().hex, **changed}
        command = ExchangeRun.model_construct(**fields)  # type: ignore[arg-type]  # some of it is wrong
        return lambda: scene.ask("lead", command, RunToken, token)

    return tries


CASES += [
    Case("an exchange for a tool more", "forbidden", exchanging(narrow=Grants(tools=("pay",)))),
    Case("an exchange for what the other was not granted", "forbidden", exchanging(narrow=Grants(tools=("mail",)))),
    Case("an exchange for everything", "forbidden", exchanging(narrow=Grants(tools=("*",)))),
    Case("an exchange for a model", "forbidden", exchanging(narrow=Grants(models=("auto",)))),
    Case("an exchange for a namespace", "forbidden", exchanging(narrow=Grants(namespaces=("user",)))),
    Case("an exchange for a cent more", "forbidden", exchanging(max_cost_usd=50.01)),
    Case("an exchange for a rounding more", "forbidden", exchanging(max_cost_usd=50.00000000000001)),
    Case("an exchange for less than nothing", "invalid", exchanging(max_cost_usd=-1.0)),
    Case("an exchange for no number", "invalid", exchanging(max_cost_usd=float("nan"))),
    Case("an exchange for the infinite", "invalid", exchanging(max_cost_usd=float("inf"))),
    Case("an exchange for nobody", "forbidden", exchanging(agent="a-nobody")),
    Case("an exchange for a person", "forbidden", exchanging(agent=USER)),
    Case("an exchange for no name", "invalid", exchanging(agent="a-*")),
    Case("an exchange for a run without a name", "invalid", exchanging(run="")),
    Case("an exchange for a run of a long name", "invalid", exchanging(run="r" * 101)),
]


@case("an exchange for a part that is another agent's", "conflict")
async def _(scene: Scene) -> Any:
    token = await scene.minted()
    await scene.ask("lead", EXCHANGE, RunToken, token)
    return lambda: scene.ask("lead", EXCHANGE.model_copy(update={"agent": "a-other"}), RunToken, token)


@case("an exchange through a ninth agent", "forbidden")
async def _(scene: Scene) -> Any:
    token, names = await scene.minted(), ["lead", "other"] * 4
    for number, who in enumerate(names[:7]):
        onward = ExchangeRun(agent=f"a-{names[number + 1]}", run=uuid.uuid4().hex)
        token = (await scene.ask(who, onward, RunToken, token)).token
    return lambda: scene.ask(names[7], EXCHANGE, RunToken, token)


def minting(who: str = "lead", **changed: object) -> Any:
    async def tries(scene: Scene) -> Any:
        return lambda: scene.minted(who, **{"run": uuid.uuid4().hex, **changed})

    return tries


CASES += [
    Case("a token for a user who is merely named", "forbidden", minting(user="u-erin")),
    Case("a token for a user nobody knows", "forbidden", minting(user="u-nobody")),
    Case("a token for the own user of another agent", "forbidden", minting(user="u-a-other")),
    Case("a token for an agent", "invalid", minting(user="a-other")),
    Case("a token for no name", "invalid", minting(user="u-*")),
    Case("a token for the operator", "invalid", minting(user="operator")),
    Case("a token for a tool more", "forbidden", minting(narrow={"tools": ["pay"]})),
    Case("a token for everything", "forbidden", minting(narrow={"tools": ["*"]})),
    Case("a token for whom the sponsor is, who did not let it", "forbidden", minting("idle")),
]


@case("a token for a run of another agent", "conflict")
async def _(scene: Scene) -> Any:
    await scene.minted("other", run="of-other")
    return lambda: scene.minted(run="of-other")


@case("a token for a run of another user", "conflict")
async def _(scene: Scene) -> Any:
    await scene.minted(run="of-dana")
    return lambda: scene.minted(run="of-dana", user="u-a-lead")


@case("a token for a run that was opened for another request", "conflict")
async def _(scene: Scene) -> Any:
    await scene.minted(run="asked", request_digest="d1")
    return lambda: scene.minted(run="asked", request_digest="d2")


@case("a token for a run that was opened under another plan", "conflict")
async def _(scene: Scene) -> Any:
    await scene.minted(run="planned", plan=PLAN)
    return lambda: scene.minted(run="planned", plan=OTHER_PLAN)


@case("a token for a run that was opened without a plan", "conflict")
async def _(scene: Scene) -> Any:
    await scene.minted(run="unplanned")
    return lambda: scene.minted(run="unplanned", plan=PLAN)


@case("a token for a run with the digest of a plan that nobody has", "invalid")
async def _(scene: Scene) -> Any:
    return lambda: scene.minted(run="blind", plan_digest=PLAN.digest)


@case("a token with a plan under the digest of another one", "invalid")
async def _(scene: Scene) -> Any:
    return lambda: scene.minted(run="two plans", plan=PLAN, plan_digest=OTHER_PLAN.digest)


@case("a token with another plan than the user signed", "invalid")
async def _(scene: Scene) -> Any:
    signed = scene.signed_by(run="signed plan", plan=PLAN)
    return lambda: scene.minted(run="signed plan", subject_token=signed, plan=OTHER_PLAN)


@case("a token with a plan that the user did not sign", "unauthenticated")
async def _(scene: Scene) -> Any:
    signed = scene.forged(scene.signed_by(run="swapped"), KeyPair.generate(), plan=PLAN.model_dump(mode="json"))
    return lambda: scene.minted(run="swapped", subject_token=signed)


@case("a token that may spend more than its run began with", "forbidden")
async def _(scene: Scene) -> Any:
    await scene.minted(run="poor", max_cost_usd=5)
    return lambda: scene.minted(run="poor", max_cost_usd=6)


@case("a token with more than its run began with", "forbidden")
async def _(scene: Scene) -> Any:
    await scene.minted(run="narrow", narrow=REFUND)
    return lambda: scene.minted(run="narrow", narrow=BOTH)


@case("a token for a run that was ended", "forbidden")
async def _(scene: Scene) -> Any:
    await scene.minted(run="ended-4")
    await scene.ask("dana", EndRun(run="ended-4"), Done)
    return lambda: scene.minted(run="ended-4")


DELEGATE = Delegate(agent="a-idle", grants=REFUND, expires_s=int(time.time()) + 3600)


@case("a token after its delegation was ended", "forbidden")
async def _(scene: Scene) -> Any:
    await scene.ask("erin", DELEGATE, Delegations)
    await scene.minted("idle", user="u-erin")
    await scene.ask("erin", EndDelegation(agent="a-idle"), Delegations)
    return lambda: scene.minted("idle", user="u-erin")


@case("a token on another agent's delegation", "forbidden")
async def _(scene: Scene) -> Any:
    await scene.ask("erin", DELEGATE, Delegations)
    return lambda: scene.minted("other", user="u-erin")


@case("a token with more than was delegated", "forbidden")
async def _(scene: Scene) -> Any:
    await scene.ask("erin", DELEGATE, Delegations)
    return lambda: scene.minted("idle", user="u-erin", narrow=BOTH)


@case("a token that may spend more than was delegated", "forbidden")
async def _(scene: Scene) -> Any:
    await scene.ask("erin", DELEGATE.model_copy(update={"max_cost_usd": 0.3}), Delegations)
    return lambda: scene.minted("idle", user="u-erin", max_cost_usd=0.1 + 0.2)


def delegating(**changed: object) -> Any:
    async def tries(scene: Scene) -> Any:
        command = DELEGATE.model_copy(update=changed)
        return lambda: scene.ask("dana", command, Delegations)

    return tries


CASES += [
    Case("a delegation that is over", "invalid", delegating(expires_s=NOW - 1)),
    Case("a delegation of more than a year", "invalid", delegating(expires_s=NOW + 400 * 86400)),
    Case("a delegation until the end of time", "invalid", delegating(expires_s=2**63 - 1)),
    Case("a delegation since before time", "invalid", delegating(expires_s=-1)),
    Case("a delegation to a person", "invalid", delegating(agent="u-erin")),
    Case("a delegation to no name", "invalid", delegating(agent="a-")),
    Case("a delegation of less than nothing", "invalid", delegating(max_cost_usd=-0.01)),
    Case("a delegation of no number", "invalid", delegating(max_cost_usd=float("nan"))),
    Case("a delegation of a thousand and one", "invalid", delegating(grants=Grants(tools=("t",) * 1001))),
]


@case("the end of somebody else's run", "forbidden")
async def _(scene: Scene) -> Any:
    await scene.minted(run="of-dana-too")
    return lambda: scene.ask("erin", EndRun(run="of-dana-too"), Done)


@case("the end of a run that is not", "forbidden")
async def _(scene: Scene) -> Any:
    return lambda: scene.ask("dana", EndRun(run="no-such-run"), Done)


def showing(make: Callable[[Scene, str], str], **changed: object) -> Any:
    """A run token against what is made as a subject token for that run."""

    async def tries(scene: Scene) -> Any:
        run = uuid.uuid4().hex
        token = make(scene, run)
        return lambda: scene.minted("lead", **{"run": run, "subject_token": token, **changed})

    return tries


def details(*found: dict[str, object]) -> dict[str, object]:
    return {"authorization_details": list(found)}


def ceiling(run: str, usd: object) -> dict[str, object]:
    return {"type": "dominie-ceiling", "run": run, "max_cost_usd": usd}


SHOWN: list[tuple[str, str, Callable[[Scene, str], str]]] = [
    ("of nothing", "unauthenticated", lambda s, r: "x"),
    ("in three parts of nothing", "unauthenticated", lambda s, r: "e30.e30.e30"),
    ("signed by the agent", "unauthenticated", lambda s, r: s.forged(s.signed_by(run=r), s.keys["lead"])),
    ("signed by another person", "unauthenticated", lambda s, r: s.forged(s.signed_by(run=r), s.keys["erin"])),
    ("signed by identity", "unauthenticated", lambda s, r: s.forged(s.signed_by(run=r))),
    ("signed by the same name abroad", "unauthenticated", lambda s, r: s.resigned("abroad-dana", s.signed_by(run=r))),
    ("alg none", "unauthenticated", lambda s, r: of_algorithm(s.signed_by(run=r), "none", s)),
    ("with another signature", "unauthenticated", lambda s, r: cut(s.signed_by(run=r))),
    ("widened under its signature", "unauthenticated", lambda s, r: widened(s.signed_by(run=r))),
    ("expired", "unauthenticated", lambda s, r: s.resigned("dana", s.signed_by(run=r), iat=NOW - 900, exp=NOW - 301)),
    (
        "of tomorrow",
        "unauthenticated",
        lambda s, r: s.resigned("dana", s.signed_by(run=r), iat=NOW + 900, exp=NOW + 901),
    ),
    ("good for an hour", "unauthenticated", lambda s, r: s.signed_by(run=r, expires_in_s=3600)),
    ("that ends before it begins", "unauthenticated", lambda s, r: s.signed_by(run=r, expires_in_s=-1)),
    ("for the edges", "unauthenticated", lambda s, r: s.resigned("dana", s.signed_by(run=r), aud="dominie")),
    ("for connecting", "unauthenticated", lambda s, r: s.resigned("dana", s.signed_by(run=r), aud="dominie-connect")),
    ("for two", "unauthenticated", lambda s, r: s.resigned("dana", s.signed_by(run=r), aud=["dominie-subject", "x"])),
    ("without an id", "unauthenticated", lambda s, r: s.resigned("dana", s.signed_by(run=r), jti=None)),
    ("without an agent", "unauthenticated", lambda s, r: s.resigned("dana", s.signed_by(run=r), may_act=None)),
    ("without an end", "unauthenticated", lambda s, r: s.resigned("dana", s.signed_by(run=r), until_s=None)),
    ("of a person nobody knows", "unauthenticated", lambda s, r: s.resigned("dana", s.signed_by(run=r), sub="u-x")),
    ("of an agent", "unauthenticated", lambda s, r: s.resigned("lead", s.signed_by(run=r), sub="a-lead")),
    ("for another run", "forbidden", lambda s, r: s.signed_by(run="another")),
    ("for another agent", "forbidden", lambda s, r: s.signed_by(run=r, agent="a-other")),
    ("of another user", "forbidden", lambda s, r: s.signed_by("erin", run=r)),
    ("that was over before it began", "forbidden", lambda s, r: s.signed_by(run=r, until_s=NOW - 1)),
    (
        "of an unknown type",
        "unauthenticated",
        lambda s, r: s.resigned("dana", s.signed_by(run=r), **details({"type": "everything"})),
    ),
    (
        "with a ceiling of another run",
        "invalid",
        lambda s, r: s.resigned("dana", s.signed_by(run=r), **details(ceiling("another", 5))),
    ),
    (
        "with two ceilings",
        "invalid",
        lambda s, r: s.resigned("dana", s.signed_by(run=r), **details(ceiling(r, 5), ceiling(r, 6))),
    ),
    (
        "with a negative ceiling",
        "unauthenticated",
        lambda s, r: s.resigned("dana", s.signed_by(run=r), **details(ceiling(r, -1))),
    ),
    (
        "with a ceiling of no number",
        "unauthenticated",
        lambda s, r: s.resigned("dana", s.signed_by(run=r), **details(ceiling(r, float("nan")))),
    ),
]
CASES += [Case(f"a subject token {name}", problem, showing(make)) for name, problem, make in SHOWN]
CASES += [
    Case(
        "more than the user signed", "forbidden", showing(lambda s, r: s.signed_by(run=r, grants=REFUND), narrow=BOTH)
    ),
    Case(
        "spending more than the user signed",
        "forbidden",
        showing(lambda s, r: s.signed_by(run=r, max_cost_usd=5), max_cost_usd=6),
    ),
]


@case("a subject token from abroad", "forbidden")
async def _(scene: Scene) -> Any:
    run = uuid.uuid4().hex
    person = dominie.Credentials("", "abroad", USER, scene.keys["abroad-dana"])
    token = person.subject_token("a-lead", run, grants=BOTH, until_s=NOW + 3600)
    return lambda: scene.minted(run=run, subject_token=token)


@case("a subject token shown again for another run", "forbidden")
async def _(scene: Scene) -> Any:
    token = scene.signed_by(run="granted-1")
    await scene.minted(run="granted-1", subject_token=token)
    return lambda: scene.minted(run="granted-2", subject_token=token)


@case("a subject token shown again after its run was ended", "forbidden")
async def _(scene: Scene) -> Any:
    token = scene.signed_by(run="granted-3")
    await scene.minted(run="granted-3", subject_token=token)
    await scene.ask("dana", EndRun(run="granted-3"), Done)
    return lambda: scene.minted(run="granted-3", subject_token=token)


@case("an older subject token after a narrower one", "forbidden")
async def _(scene: Scene) -> Any:
    wide, thin = scene.signed_by(run="granted-4"), scene.signed_by(run="granted-4", grants=REFUND)
    await scene.minted(run="granted-4", subject_token=wide)
    await scene.minted(run="granted-4", subject_token=thin)
    return lambda: scene.minted(run="granted-4", subject_token=wide, narrow=BOTH)


@case("a run whose grant is over, though its user is registered with it", "forbidden")
async def _(scene: Scene) -> Any:
    until_s = int(time.time()) + 2
    await scene.minted(run="granted-5", subject_token=scene.signed_by(run="granted-5", until_s=until_s))

    async def later() -> None:
        while time.time() < until_s:
            await scene.events()
        await scene.minted(run="granted-5")

    return later


@case("a subject token for a part of another run", "conflict")
async def _(scene: Scene) -> Any:
    part = EXCHANGE.model_copy(update={"run": "part-with-token"})
    run = (await scene.ask("lead", part, RunToken, await scene.minted())).run
    token = scene.signed_by(run=run, agent="a-helper")
    return lambda: scene.minted("helper", run=run, subject_token=token)


@case("a run token of a user who was revoked", "unauthenticated")
async def _(scene: Scene) -> Any:
    await scene.ask("gone", DELEGATE.model_copy(update={"agent": "a-lead"}), Delegations)
    token = await scene.minted(user="u-gone")
    await scene.house.operator.ask(Revoke(principal="u-gone", tenant="acme"), Done)
    return lambda: scene.ask("lead", EXCHANGE, RunToken, token)


@case("a subject token of a user who was revoked", "unauthenticated")
async def _(scene: Scene) -> Any:
    await scene.house.operator.ask(Revoke(principal="u-gone", tenant="acme"), Done)
    token = scene.signed_by("gone", run="after-all")
    return lambda: scene.minted(user="u-gone", run="after-all", subject_token=token)


@case("a part's token, once an agent above was suspended", "forbidden")
async def _(scene: Scene) -> Any:
    part = EXCHANGE.model_copy(update={"run": "part-of-idle", "agent": "a-other"})
    await scene.ask("dana", DELEGATE, Delegations)
    token = (await scene.ask("idle", part, RunToken, await scene.minted("idle"))).token
    await scene.house.operator.ask(Suspend(principal="a-idle", tenant="acme"), Done)
    return lambda: scene.ask("other", EXCHANGE, RunToken, token)


@pytest.mark.parametrize("tried", CASES, ids=lambda tried: tried.name)
async def test_it_is_refused_and_nothing_is_written(scene: Scene, tried: Case) -> None:
    attempt = await tried.tries(scene)
    before = await scene.events()
    with pytest.raises(Problem) as caught:
        await attempt()
    assert caught.value.type == tried.problem, caught.value.detail
    assert await scene.events() == before


def test_the_table_is_as_long_as_it_says() -> None:
    assert len({tried.name for tried in CASES}) == len(CASES) >= 120


async def test_what_is_right_is_done(scene: Scene) -> None:
    run = uuid.uuid4().hex
    shown = scene.signed_by("erin", run=run, max_cost_usd=50, request_digest="d")
    token = await scene.minted(run=run, user="u-erin", subject_token=shown)
    wanted = ExchangeRun(agent="a-helper", run="part", max_cost_usd=5)
    handed = await scene.ask("lead", wanted, RunToken, token)
    part = (await scene.ask("lead", wanted, RunToken, token)).run
    assert part == handed.run
    for found in (handed.token, await scene.minted("helper", run=part, user="u-erin")):
        claims = RunTokenVerifier(scene.house.keys.signer).verify(found)
        assert (claims.chain, claims.sub, claims.parents) == ("a-helper a-lead", "u-erin", (run,))
        assert claims.grants == REFUND
        assert [(each.run, each.max_cost_usd) for each in claims.ceilings] == [(run, 50), (part, 5)]
        assert claims.act.ids == (ACT.replace("lead", "helper"), ACT)
    later = RunTokenVerifier(scene.house.keys.signer).verify(await scene.minted(run=run, user="u-erin"))
    assert (later.request_digest, later.grants, later.ceilings[0].max_cost_usd) == ("d", BOTH, 50)


async def test_who_loses_their_sponsor_is_revoked_and_says_so(scene: Scene) -> None:
    await scene.house.register("u-boss")
    keys = await scene.house.register("a-ward", sponsor="u-boss", users=(USER,))
    async with connected(scene.house.url, keys, "acme", "a-ward") as ward:
        token = (await ward.ask(MintRunToken(user=USER, run="wards"), RunToken)).token
        handed = ExchangeRun(agent="a-lead", run="of-wards")
        through = (await ward.ask(handed, RunToken, token=token)).token
        await scene.house.operator.ask(Revoke(principal="u-boss", tenant="acme"), Done)
        with anyio.fail_after(20):
            await ward.ended.wait()
    with pytest.raises(Unauthenticated):
        await scene.ask("lead", EXCHANGE, RunToken, through)
    assert await is_refused(scene.house.url, keys, "acme", "a-ward")
    log = scene.house.operator.client.jetstream()
    last = await log.get_last_msg(segment_stream(0), "evt.0.acme.principal.a-ward")
    assert last.data is not None and b"principal.revoked.v1" in last.data and b"its sponsor u-boss" in last.data


async def test_an_agent_has_a_sponsor_who_stands(scene: Scene) -> None:
    for sponsor in (None, "u-nobody", "a-lead", "u-*"):
        with pytest.raises(Invalid):
            await scene.house.register("a-orphan", sponsor=sponsor)


async def test_nobody_but_a_person_delegates_and_nobody_but_an_agent_hands_on(scene: Scene) -> None:
    for who, commands in (("lead", ("delegate", "end_delegation", "end_run")), ("dana", ("exchange_run", "token"))):
        peer = scene.peers[who]
        for command in commands:
            for owner in (peer.principal, "u-erin", "a-other"):
                assert not await peer.may_publish(f"cmd.acme.{owner}.identity.{command}")
