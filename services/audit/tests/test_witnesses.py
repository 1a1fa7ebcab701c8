"""Witnesses sign what audit publishes; one that has signed another history stops it, and one that is away does not."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest

from dominie.cosignatures import SIZE_TYPE, Cosigner, Submission, check_quorum
from dominie.merkle import EMPTY, is_extended
from dominie.notes import Checkpoint, Signer, parse_note
from dominie.proofs import check_extension, check_inclusion
from dominie_audit.adapters.tlog.published import BadWitness, Own, Published, WitnessDiffers
from dominie_audit.adapters.witnesses import Witnesses
from dominie_audit.adapters.witnesses.address import Address, addresses_of
from dominie_audit.adapters.witnesses.one import MAX_ANSWER_BYTES
from dominie_audit.handlers import Handlers
from dominie_audit.projection import Log
from dominie_contracts import Unavailable
from dominie_contracts.audit import GetCheckpoint, Prove, VerifyLog
from dominie_contracts.guardrail import PoliciesPublished
from dominie_eventstore import MemoryEventStore
from dominie_kit import Context
from dominie_kit.context import deadline_in
from dominie_kit.handler_testing import Keys, term
from dominie_kit.personal.keyring import Keyring

pytestmark = pytest.mark.anyio
Sign = Callable[[], Awaitable[None]]
Write = Callable[..., Awaitable[int]]
POLICIES = PoliciesPublished(digest="d" * 64, files=(), by="operator")


ONE = Cosigner(Signer("witness.example/w1", b"w1" * 16)).key


class Fake:
    """A witness that does as the specification says, unless it is told to say something else."""

    def __init__(self, name: str = "witness.example/w1") -> None:
        self.cosigner = Cosigner(Signer(name, name[-2:].encode() * 16))
        self.address = Address("http://w", self.cosigner.key)
        self.last = Checkpoint("dominie/test", 0, EMPTY)
        self.asked: list[Submission] = []
        self.says: httpx.Response | Exception | None = None

    def answer(self, request: httpx.Request) -> httpx.Response:
        submission = Submission.parse(request.content)
        self.asked.append(submission)
        if isinstance(self.says, Exception):
            raise self.says
        found = self.says or self.judge(submission)
        return httpx.Response(found.status_code, headers=found.headers, stream=httpx.ByteStream(found.content))

    def judge(self, submission: Submission) -> httpx.Response:
        text = parse_note(submission.note)[0]
        new = Checkpoint.parse(text)
        if submission.old != self.last.size or (new.size == submission.old and new.root != self.last.root):
            return httpx.Response(409, headers={"content-type": SIZE_TYPE}, text=f"{self.last.size}\n")
        if not is_extended(self.last.size, new.size, submission.proof, self.last.root, new.root):
            return httpx.Response(422)
        self.last = new
        return httpx.Response(200, text=self.cosigner.cosign(text, 1_795_248_000))


@asynccontextmanager
async def asking(published: Published, *fakes: Fake, quorum: int = 0) -> AsyncIterator[Witnesses]:
    by_name = {f"w{number}": fake for number, fake in enumerate(fakes)}
    addresses = [Address(f"http://{host}", fake.address.key) for host, fake in by_name.items()]
    transport = httpx.MockTransport(lambda request: by_name[request.url.host].answer(request))
    found = Witnesses(published, addresses, quorum=quorum, timeout_s=1, interval_s=1, transport=transport)
    async with found.opened():
        yield found


def stored(published: Published) -> str:
    note = published.tiles.note()
    assert note is not None
    return note


async def test_a_checkpoint_carries_the_signatures_that_came(
    published: Published, refund: None, checkpoint: Sign
) -> None:
    await checkpoint()
    one, two = Fake(), Fake("witness.example/w2")
    async with asking(published, one, two, quorum=2) as witnesses:
        await witnesses.sign_latest()
        await witnesses.sign_latest()
        size, names = witnesses.standing()
        assert size == 7 and set(names) == {"witness.example/w1", "witness.example/w2"}
    assert len(check_quorum(stored(published), [one.cosigner.key, two.cosigner.key], 2)) == 2
    latest = published.latest()
    assert latest is not None and latest.checkpoint.size == 7
    assert (len(one.asked), len(two.asked)) == (1, 1), "what is signed is not asked for again"


async def test_it_asks_from_where_the_witness_is(
    own: Own, published: Published, refund: None, checkpoint: Sign, write: Write
) -> None:
    await checkpoint()
    fake = Fake()
    async with asking(published, fake) as witnesses:
        await witnesses.sign_latest()
        await write("policy", "main", POLICIES)
        await checkpoint()
        await witnesses.sign_latest()
    await write("policy", "main", POLICIES)
    await checkpoint()
    async with asking(published, fake) as witnesses:  # after a restart it does not know
        await witnesses.sign_latest()
    assert [submission.old for submission in fake.asked] == [0, 7, 0, 8]
    assert fake.last.size == 9


async def test_a_quorum_of_an_older_checkpoint_counts_until_there_is_a_newer_one(
    published: Published, refund: None, checkpoint: Sign, write: Write
) -> None:
    await checkpoint()
    one, two = Fake(), Fake("witness.example/w2")
    async with asking(published, one, two, quorum=2) as witnesses:
        await witnesses.sign_latest()
        two.says = httpx.ConnectError("away")
        await write("policy", "main", POLICIES)
        await checkpoint()
        await witnesses.sign_latest()
        assert witnesses.standing()[0] == 7
        assert check_quorum(stored(published), [one.cosigner.key], 1)
        two.says = None
        await witnesses.sign_latest()
        assert witnesses.standing()[0] == 8
    assert len(check_quorum(stored(published), [one.cosigner.key, two.cosigner.key], 2)) == 2


UNUSABLE = [
    httpx.ConnectError("refused"),
    httpx.Response(500),
    httpx.Response(403),
    httpx.Response(404),
    httpx.Response(409, text="9\n"),
    httpx.Response(409, headers={"content-type": SIZE_TYPE}, text="nine\n"),
    httpx.Response(302, headers={"location": "http://elsewhere"}),
    httpx.Response(200, text=""),
    httpx.Response(200, text="\u2014 witness.example/w1 AAAA\n"),
    httpx.Response(200, text="\u2014 another AAAAAAAAAAAA\n"),
    httpx.Response(200, content=b"x" * (MAX_ANSWER_BYTES + 1)),
    httpx.Response(200, content=b"\xff"),
]


@pytest.mark.parametrize("says", UNUSABLE, ids=repr)
async def test_a_witness_that_is_of_no_use_stops_nothing(
    published: Published, refund: None, checkpoint: Sign, says: httpx.Response | Exception
) -> None:
    await checkpoint()
    before = stored(published)
    fake = Fake()
    fake.says = says
    async with asking(published, fake) as witnesses:
        await witnesses.sign_latest()
        await witnesses.check()
        assert witnesses.standing() == (None, ())
    assert stored(published) == before


@pytest.mark.parametrize(
    ("last", "said"),
    [
        pytest.param(Checkpoint("dominie/test", 9, b"r" * 32), "has signed 9 events", id="newer"),
        pytest.param(Checkpoint("dominie/test", 7, b"r" * 32), "has signed 7 other events", id="another of that size"),
        pytest.param(Checkpoint("dominie/test", 3, b"r" * 32), "has signed 3 other events", id="another, shorter"),
    ],
)
async def test_a_witness_of_another_history_stops_it(
    published: Published, refund: None, checkpoint: Sign, last: Checkpoint, said: str
) -> None:
    await checkpoint()
    fake = Fake()
    fake.last = last
    async with asking(published, Fake("witness.example/w2"), fake) as witnesses:
        for stopped in (witnesses.check, witnesses.sign_latest, witnesses.run):
            with pytest.raises(WitnessDiffers, match=f"'witness.example/w1' {said}, and .* 7 events") as found:
                await stopped()
            assert (found.value.witness, found.value.size) == ("witness.example/w1", 7)


async def test_a_witness_that_is_only_quicker_stops_nothing(
    published: Published, refund: None, checkpoint: Sign, write: Write
) -> None:
    """Another instance has published and asked meanwhile."""
    await checkpoint()
    older = published.latest()
    assert older is not None
    await write("policy", "main", POLICIES)
    await checkpoint()
    fake = Fake()
    async with asking(published, fake) as witnesses:
        await witnesses.sign_latest()
        assert await witnesses._ask(older, witnesses._asked) == ""


async def test_what_was_witnessed_is_the_logs_beginning_even_when_nobody_answers(
    own: Own, published: Published, refund: None, checkpoint: Sign
) -> None:
    await checkpoint()
    fake = Fake()
    fake.says = httpx.ConnectError("away")
    other = Checkpoint("dominie/test", 3, b"r" * 32)
    note = own.signer.sign(other.text)
    published.tiles.cosign(note, fake.cosigner.cosign(other.text, 1), witnessed=True)
    async with asking(published, fake) as witnesses:
        with pytest.raises(WitnessDiffers, match="3 other events"):
            await witnesses.check()


async def test_damaged_tiles_accuse_nobody(published: Published, refund: None, checkpoint: Sign) -> None:
    await checkpoint()
    (tile,) = (published.tiles.folder / "tile/0").rglob("7")
    tile.write_bytes(bytes(7 * 32))
    fake = Fake()
    fake.last = Checkpoint("dominie/test", 3, b"r" * 32)
    async with asking(published, fake) as witnesses:
        await witnesses.check()
    assert [submission.old for submission in fake.asked] == [0], "no proof that does not hold is sent"


LOG_KEY = Signer("a", b"k" * 32).verifier


@pytest.mark.parametrize(
    "text", ["x", "http://w", "http://w x", "ftp://w a+b", f"http://w {LOG_KEY}", f"http://a:b {ONE}"]
)
def test_a_setting_that_names_no_witness_is_refused(text: str) -> None:
    with pytest.raises(BadWitness, match="DOMINIE_AUDIT_WITNESSES"):
        addresses_of(text)


def test_a_setting_names_several(published: Published) -> None:
    one, two = Fake(), Fake("witness.example/w2")
    found = addresses_of(f" http://a/ {one.cosigner.key}, https://b/x {two.cosigner.key} ,")
    assert found == (Address("http://a", one.cosigner.key), Address("https://b/x", two.cosigner.key))
    with pytest.raises(BadWitness, match="QUORUM is 3"):
        Witnesses(published, found, quorum=3, timeout_s=1, interval_s=1)


@pytest.fixture
def log() -> Iterator[Log]:
    with Log(term=term) as found:
        yield found


def auditor() -> Context:
    return Context(tenant="acme", principal="u-ada", key="k", deadline=deadline_in(5), groups=("auditors",))


async def test_an_auditor_is_told_and_given_the_witnessed_checkpoint(
    store: MemoryEventStore, log: Log, published: Published, refund: None, checkpoint: Sign, write: Write
) -> None:
    await checkpoint()
    (first, *_), fake = [event async for event in store.read_all()], Fake()
    async with asking(published, fake) as witnesses:
        audit = Handlers(store, log, published, witnesses, Keyring(Keys()), reply_bytes=1_000)
        with pytest.raises(Unavailable, match="witnessed"):
            await audit.checkpoint(GetCheckpoint(witnessed=True), auditor())
        await witnesses.sign_latest()
        newer = await write("policy", "main", POLICIES)
        await checkpoint()
        report = await audit.verify(VerifyLog(), auditor())
        assert (report.ok, report.checkpoint, report.witnessed) == (True, 8, 7)
        assert report.witnesses == ("witness.example/w1",)
        found = await audit.checkpoint(GetCheckpoint(extends=3, witnessed=True), auditor())
        assert check_quorum(found.checkpoint, [fake.cosigner.key], 1)
        old = Checkpoint.open(found.checkpoint, published.key)
        current = await audit.checkpoint(GetCheckpoint(extends=7), auditor())
        assert check_extension(old, current, published.key).size == 8
        proof = await audit.prove(Prove(position=first.position, witnessed=True), auditor())
        proven = check_inclusion(proof.model_dump_json(), published.key)
        assert proven.checkpoint.size == 7 and check_quorum(proven.note, [fake.cosigner.key], 1)
        with pytest.raises(Unavailable, match="last witnessed"):
            await audit.prove(Prove(position=newer, witnessed=True), auditor())
        fake.last = Checkpoint("dominie/test", 99, b"r" * 32)
        report = await audit.verify(VerifyLog(), auditor())
        assert not report.ok and "has signed 99 events" in report.why
