"""One run: a request to an agent on a user's behalf, and every step that is taken in it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from pydantic import JsonValue

from dominie._asker import Asker
from dominie._chat import Reply
from dominie._deltas import Assembler, Chunk, Deltas
from dominie._invoking import Invoking, Wait
from dominie._link import Link
from dominie._local import Local, LocalOutcomes, Ran
from dominie._tool import AnyTool, Runner, in_thread
from dominie_contracts import Held
from dominie_contracts.action import Priority
from dominie_contracts.digests import digest_bytes
from dominie_contracts.guardrail import Limits, LimitUse, ListLimits
from dominie_contracts.judge import Review, Verdict
from dominie_contracts.memory import AddTurn, Kept, ListTurns, Memories, Memory, Recall, Remember, Role, Turn, Turns
from dominie_contracts.model import Chat
from dominie_contracts.runs import ExchangeRun, MintRunToken, RunToken, WidenRun
from dominie_contracts.subjects import check_principal, out_subject
from dominie_contracts.token import Grants
from dominie_contracts.tool import Begun, ListTools, ToolResult, Tools, ToolSpec

Messages = Iterable[Mapping[str, Any]]


class AsyncRun:
    """A run; make it with `AsyncClient.run`. Its steps may be taken in parallel."""

    def __init__(self, link: Link, outcomes: LocalOutcomes, mint: MintRunToken, *, timeout_s: float) -> None:
        self.id = mint.run
        self.user = mint.user
        self.session = mint.session
        self.agent = link.credentials.principal
        self._asker = Asker(link, mint, timeout_s)
        self._invoking = Invoking(self._asker)
        self._local = Local(self._asker, outcomes)
        self._deltas = Deltas(link, out_subject(link.credentials.tenant, self.agent, self.id))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End this program's part of the run; by its id it can be taken up again."""
        await self._deltas.close()

    @property
    def position(self) -> int:
        """The last position that this run has written."""
        return self._asker.position

    async def chat(
        self,
        messages: Messages,
        model: str = "auto",
        *,
        tools: Iterable[Mapping[str, Any]] = (),
        priority: Priority = "standard",
        max_cost_usd: float | None = None,
        on_delta: Callable[[Chunk], object] | None = None,
        key: str | None = None,
        timeout_s: float | None = None,
        **options: Any,
    ) -> Reply:
        """Ask a model; messages, tools and options are OpenAI's.

        Args:
            messages: The conversation, oldest first.
            model: One that the tenant offers.
            tools: OpenAI's function tools.
            priority: `interactive`, `standard` or `background`.
            max_cost_usd: The most that this call may cost.
            on_delta: Called with each chunk as it comes; what got lost on the way follows at the end.
            key: The idempotency key; None: made from all of the above.
            timeout_s: How long this may take; None: as the client says.
            options: `temperature`, `max_tokens`, `response_format`, `tool_choice`, …

        Raises:
            Problem: Refused, too expensive, or no answer in time.
        """
        command = Chat(
            messages=tuple(dict(message) for message in messages),
            model=model,
            tools=tuple(dict(tool) for tool in tools),
            options=options,
            priority=priority,
            max_cost_usd=max_cost_usd,
            stream=on_delta is not None,
        )
        with self._invoking.step(f"chat/{model}", command.model_dump(mode="json"), key, None) as found:
            if on_delta is None:
                return await self._asker.ask(command, Reply, key=found, resource=model, timeout_s=timeout_s)
            return await self._streamed(command, found, on_delta, timeout_s)

    async def stream(self, messages: Messages, model: str = "auto", **arguments: Any) -> AsyncIterator[Chunk | Reply]:
        """As `chat`, and yields each chunk as it comes, then the `Reply`, which has the last word."""
        chunks: asyncio.Queue[Chunk | None] = asyncio.Queue()
        asking = asyncio.create_task(self.chat(messages, model, on_delta=chunks.put_nowait, **arguments))
        asking.add_done_callback(lambda _: chunks.put_nowait(None))
        try:
            while (chunk := await chunks.get()) is not None:
                yield chunk
            yield await asking
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _streamed(
        self, command: Chat, key: str, on_delta: Callable[[Chunk], object], timeout_s: float | None
    ) -> Reply:
        stream_id = digest_bytes(key.encode())[:32]
        command = command.model_copy(update={"stream_id": stream_id})
        assembler = Assembler(on_delta)
        await self._deltas.hear(stream_id, assembler)
        try:
            reply = await self._asker.ask(command, Reply, key=key, resource=command.model, timeout_s=timeout_s)
        finally:
            self._deltas.ignore(stream_id)
        assembler.finish(reply.completion)
        return reply

    async def tools(self) -> tuple[ToolSpec, ...]:
        """The registered tools that this run may call."""
        return (await self._asker.ask(ListTools(), Tools, key=uuid.uuid4().hex)).tools

    async def invoke(
        self,
        tool: str,
        arguments: Mapping[str, JsonValue],
        *,
        key: str | None = None,
        tool_call_id: str | None = None,
        wait: Wait = "raise",
        timeout_s: float | None = None,
        references: Mapping[str, str] | None = None,
    ) -> ToolResult:
        """Run a registered tool.

        Args:
            tool: Its name.
            arguments: As its schema says.
            key: The idempotency key; None: made from the run and `tool_call_id`, or from tool and arguments.
            tool_call_id: The framework's id of this call, the same when the agent is started again.
            wait: Where a person must say yes first: `"raise"` ApprovalRequired, or wait for so many seconds.
            timeout_s: How long one try may take; None: as the client says.
            references: Of an argument, where it stands in a result of this run: `{"/to": f"{found.action}#/mail"}`.
                What is not so is refused.

        Raises:
            ApprovalRequired: A person has to say yes; the same call later is the same action.
            Problem: Refused, failed, or no answer in time.
        """
        step = self._invoking.step(f"tool/{tool}", dict(arguments), key, tool_call_id)
        return await self._invoking.invoke(tool, arguments, step, wait, timeout_s, references)

    async def wait_approval(self, action: str, timeout_s: float) -> ToolResult:
        """Wait for a person's answer to an action that `invoke` was refused for; then its result.

        Raises:
            ApprovalRequired: Nobody has answered in time.
            Forbidden: The answer is no.
            Invalid: This run asked for no such action.
        """
        return await self._invoking.wait_approval(action, timeout_s)

    async def call_local(
        self,
        tool: AnyTool,
        arguments: Mapping[str, JsonValue],
        key: str | None = None,
        *,
        tool_call_id: str | None = None,
        wait: Wait = "raise",
    ) -> ToolResult:
        """Run a function of this process, decided before and recorded after; a registered tool of its name wins.

        Raises:
            Problem: Refused, or no answer in time.
            Exception: What the function raised.
        """
        return await self._call_local(tool, arguments, key, tool_call_id, wait, in_thread)

    async def _call_local(
        self,
        tool: AnyTool,
        arguments: Mapping[str, JsonValue],
        key: str | None,
        tool_call_id: str | None,
        wait: Wait,
        runner: Runner,
    ) -> ToolResult:
        name, given = tool.spec.name, dict(arguments)
        with self._invoking.step(f"local/{name}", given, key, tool_call_id) as found:
            begun = await self._invoking.answered(lambda: self._local.begin(tool.spec, given, found), wait)
            if begun.then == "finished":
                return ToolResult(result=begun.result, labels=begun.labels, action=begun.action)
            if begun.then == "invoke":
                return await self.invoke(name, given, key=found, wait=wait)
            return await self._local.run(tool, given, begun.action, found, runner)

    async def begin(self, spec: ToolSpec, arguments: Mapping[str, JsonValue], *, key: str) -> Begun:
        """Record and decide a local call before it runs; `call_local` does it all."""
        return await self._local.begin(spec, arguments, key)

    async def finish(
        self,
        action: str,
        *,
        key: str,
        result: JsonValue = None,
        error: str | None = None,
        duration_ms: float = 0.0,
    ) -> ToolResult:
        """Record the outcome of a local call that was begun with this key."""
        return await self._local.finish(action, key, Ran(result, error, duration_ms))

    async def remember(self, text: str, *, namespace: str = "user") -> str:
        """Keep a text; its id."""
        command = Remember(namespace=namespace, text=text)
        with self._asker.steps.take("remember", command.model_dump(mode="json")) as key:
            return (await self._asker.ask(command, Kept, key=key, resource=namespace)).id

    async def recall(self, query: str, *, namespace: str = "user", limit: int = 5) -> tuple[Memory, ...]:
        """The texts that fit a question best, the best first."""
        command = Recall(namespace=namespace, query=query, limit=limit)
        with self._asker.steps.take("recall", command.model_dump(mode="json")) as key:
            return (await self._asker.ask(command, Memories, key=key, resource=namespace)).memories

    async def say(self, text: str, *, role: Role = "user") -> None:
        """Keep one turn of the session."""
        command = AddTurn(role=role, text=text)
        with self._asker.steps.take("say", command.model_dump(mode="json")) as key:
            await self._asker.ask(command, Kept, key=key)

    async def turns(self, limit: int = 10) -> tuple[Turn, ...]:
        """The last turns of the session, oldest first."""
        command = ListTurns(limit=limit)
        with self._asker.steps.take("turns", command.model_dump(mode="json")) as key:
            return (await self._asker.ask(command, Turns, key=key)).turns

    async def limits(self) -> tuple[LimitUse, ...]:
        """What is left of the limits that this agent's calls share, and its user's."""
        return (await self._asker.ask(ListLimits(), Limits, key=uuid.uuid4().hex)).limits

    async def hand_on(
        self, agent: str, *, id: str | None = None, grants: Grants | None = None, max_cost_usd: float | None = None
    ) -> str:
        """Open a run of another agent that acts on behalf of this one; its id, which that agent begins with.

        It can do no more than this run may, and what it spends is spent by this run too.

        Args:
            agent: Its name.
            id: What tells it from this run's other parts, and its id is made of; None: the rest, and how often that was
                handed on, so that it is the same when the agent is started again.
            grants: What it may use, of what this run may; None: all of that.
            max_cost_usd: What it may spend, of what this run may.

        Raises:
            Forbidden: It is more than this run may, or there is no such agent.
        """
        principal = check_principal(agent if agent.startswith("a-") else f"a-{agent}")
        wanted = {"agent": principal, "id": id, "grants": grants.model_dump() if grants else None, "usd": max_cost_usd}
        with self._asker.steps.take("hand_on", wanted) as key:
            run = id or digest_bytes(f"{self.id}\0{key}".encode())[:32]
            command = ExchangeRun(
                agent=principal, run=run, session=self.session, narrow=grants, max_cost_usd=max_cost_usd
            )
            return (await self._asker.ask(command, RunToken, key=key)).run

    async def widen(
        self,
        *,
        tools: Iterable[str] = (),
        models: Iterable[str] = (),
        namespaces: Iterable[str] = (),
        max_cost_usd: float | None = None,
        reason: str,
        wait: Wait = "raise",
    ) -> None:
        """Ask people to let this run do more than it may; it can once they have said yes.

        The same asked again is the same question. What is handed on later has it where it is named.

        Args:
            tools: Those that it needs, by name.
            models: Those that it needs, by name.
            namespaces: Those that it needs, by name.
            max_cost_usd: What the run has to spend, instead of what it was given.
            reason: Why, for whoever is asked.
            wait: As in `invoke`.

        Raises:
            ApprovalRequired: Nobody has said yes yet.
            Forbidden: The answer is no; or the agent is not registered with so much.
        """
        grants = Grants(tools=tuple(tools), models=tuple(models), namespaces=tuple(namespaces))
        command = WidenRun(grants=grants, max_cost_usd=max_cost_usd, reason=reason)
        wanted = command.model_dump(mode="json")

        async def once() -> None:
            with self._asker.steps.take("widen", wanted) as key:
                self._asker.take(await self._asker.ask(command, RunToken, key=key), max_cost_usd)

        await self._invoking.answered(once, wait)

    async def reply(self, text: str, *, timeout_s: float | None = None) -> str:
        """Have the run's final answer judged; the text, once it may go out. A session keeps it as a turn.

        Raises:
            Held: The judges keep it back; `extra` has the votes.
        """
        with self._asker.steps.take("reply", {"output": text}) as key:
            verdict = await self._asker.ask(Review(output=text), Verdict, key=key, timeout_s=timeout_s)
        if verdict.verdict == "held":
            raise _held(verdict)
        if self.session is not None and text:
            await self.say(text, role="assistant")
        return text


def _held(verdict: Verdict) -> Held:
    why = "; ".join(f"{vote.judge}: {vote.why}" for vote in verdict.votes if vote.vote == "reject")
    votes = [vote.model_dump(mode="json") for vote in verdict.votes]
    return Held(f"the judges hold this answer back ({why})", action=verdict.action, votes=votes)
