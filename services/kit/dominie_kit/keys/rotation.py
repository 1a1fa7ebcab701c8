"""Replaces the deployment's own keys while they are used. The operator's work, where the folder of keys is.

The broker knows services, the operator and identity's other connections from its configuration, and takes nothing at a
reload ("config reload not supported for AuthCallout"). So under `dominie up` it is started again, and whoever has a new
key is, one after the other; what callers try meanwhile is tried again.
"""

import os
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import anyio

from dominie_contracts import Unavailable
from dominie_contracts.identity import IDENTITY
from dominie_contracts.keys import Keys, Replacement, RotateKeys
from dominie_kit.errors import BrokerFailed, RotationBusy, StartFailed
from dominie_kit.house.operator import Operator, operator
from dominie_kit.house.plan import BROKER
from dominie_kit.house.state import Running, StateFolder
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.keys.public import read_keys
from dominie_kit.keys.replacing import Part, Phase, Rotation, Underway

_ASK_S, _TELL_S, _RESTART_S, _POLL_S = 10.0, 30.0, 60.0, 0.02
_END_S = 10.0
"""How long a service may take to end."""
Tell = Callable[[str], None]


async def rotate_signer(asking: Operator, keys: KeyFolder, *, overlap_s: int) -> Keys:
    """Make another signer of run tokens, and have identity sign with it in a moment, when every service takes it.

    Raises:
        Problem: Identity refuses, or does not answer.
    """
    published = (await read_keys(asking.client))["keys"]
    present = [key["nkey"] for key in published if key["for"] == "signer" and "exp" not in key]
    if len(present) != 1:
        raise Unavailable("which signer there is now is not published; is identity up to date?", retry_after_s=1)
    new = keys.new_signer()
    replaced = Replacement(use="signer", name=IDENTITY, nkey=new.public, previous=present[0])
    return await asking.ask(RotateKeys(keys=(replaced,), overlap_s=overlap_s), Keys, timeout_s=_ASK_S)


async def rotate(state: StateFolder, parts: Sequence[Part], *, tell: Tell = lambda step: None) -> Keys:
    """Give parts of what runs here new keys; the broker takes the old ones until whoever has them has the new ones.

    What an earlier rotation did not come to is done first, and is all where it was the same.

    Raises:
        KitError: Another one is under way; there is no room; the broker or a service did not come back in time.
        Unavailable: It is done, and identity has still to write it down.
    """
    rotation = Rotation(state.keys())
    with rotation.lock():
        if (left := rotation.find()) is not None:
            tell("a rotation that was interrupted is finished")
            done = await _carry(state, rotation, left, tell)
            if covers(left, parts):
                return done
        for part in parts:
            if part.use != "operator":
                _pid(state, part.name)
        state.up()
        begun = rotation.begin(parts)
        tell("the new keys are made")
        return await _carry(state, rotation, begun, tell)


async def resume(state: StateFolder, keys: KeyFolder) -> bool:
    """Finish a rotation that nobody is at any more; whether there was one.

    Raises:
        KitError, Unavailable: It is not finished yet.
    """
    rotation = Rotation(keys)
    if rotation.find() is None:
        return False
    try:
        with rotation.lock():
            if (left := rotation.find()) is not None:
                await _carry(state, rotation, left, lambda step: None)
            return left is not None
    except RotationBusy:
        return False


def covers(underway: Underway, parts: Iterable[Part]) -> bool:
    """Whether a rotation replaces the keys of all of these."""
    found = {(each.use, each.name.partition("/")[0]) for each in underway.replaced}
    return all((part.use, part.name) in found for part in parts)


async def _carry(state: StateFolder, rotation: Rotation, underway: Underway, tell: Tell) -> Keys:
    """Go on from where it is; each phase may be begun again."""
    if underway.phase == "install":
        rotation.install()
        gone = {BROKER: state.up().broker.pid, **{name: _pid(state, name) for name in underway.holders}}
        underway = rotation.note(underway.model_copy(update={"phase": "overlap", "gone": gone}))
        tell("the new keys are in their place")
    if underway.phase == "overlap":
        await _renew(state, underway, tell)
        last: Phase = "unrecorded" if underway.uses == {"callout"} else "alone"
        gone = {BROKER: state.up().broker.pid}
        underway = rotation.note(underway.model_copy(update={"phase": last, "gone": gone}))
    if underway.phase == "alone":
        await _restart_broker(state, underway.gone[BROKER])
        underway = rotation.note(underway.model_copy(update={"phase": "unrecorded", "gone": {}}))
        tell("the broker takes the new keys alone")
    done = await _record(state, underway.replaced)
    rotation.end()
    tell("it is written down")
    return done


async def _renew(state: StateFolder, underway: Underway, tell: Tell) -> None:
    """Have the broker take both, and whoever holds an old key its new one.

    The broker takes one issuer of user tokens at a time. So identity ends first: an answer of the wrong issuer would be
    a refusal, where silence is waited for.
    """
    gone = underway.gone
    if "callout" in underway.uses:
        _end(state, IDENTITY, gone[IDENTITY])
    await _restart_broker(state, gone[BROKER])
    tell("the broker takes the new keys too")
    for name in underway.holders:
        await _restarted(state, name, gone[name])
        tell(f"{name} has its new key")


async def _record(state: StateFolder, replaced: tuple[Replacement, ...]) -> Keys:
    """Have identity write down what was done; it may be starting still.

    Raises:
        Unavailable: It does not, for long.
    """
    with anyio.move_on_after(_TELL_S):
        while True:
            try:
                async with operator(state.up().nats_url, state.keys()) as asking:
                    return await asking.ask(RotateKeys(keys=replaced, overlap_s=0), Keys)
            except (Unavailable, BrokerFailed):
                await anyio.sleep(_POLL_S)
    raise Unavailable("the keys are replaced, and identity does not answer: it writes that down when it is back")


async def _restart_broker(state: StateFolder, gone: int) -> None:
    """Have the broker read its configuration, which the supervisor writes with the keys that are there now."""
    if gone and state.up().broker.pid == gone:
        os.kill(gone, signal.SIGTERM)
    await _until(lambda: _is_back(state.up().broker, gone), _RESTART_S, "the broker")


async def _restarted(state: StateFolder, name: str, gone: int) -> None:
    _end(state, name, gone)
    with anyio.move_on_after(_END_S):
        await _until(lambda: _pid(state, name) != gone, _RESTART_S, name)
    if gone and _pid(state, name) == gone:
        os.kill(gone, signal.SIGKILL)  # it does not end; the supervisor would not wait longer either
    await _until(lambda: _is_back(state.up().services[name], gone), _RESTART_S, name)


def _end(state: StateFolder, name: str, gone: int) -> None:
    """Ask a process to end, unless it has."""
    if gone and _pid(state, name) == gone:
        with suppress(ProcessLookupError):
            os.kill(gone, signal.SIGTERM)


def _pid(state: StateFolder, name: str) -> int:
    """A service's process; 0 while it is down."""
    found = state.up().services.get(name)
    if found is None:
        raise StartFailed(f"{name} does not run here: its keys are to be replaced where it does")
    return found.pid


def _is_back(running: Running, gone: int) -> bool:
    return running.ready and running.pid not in (0, gone)


async def _until(done: Callable[[], bool], timeout_s: float, what: str) -> None:
    with anyio.move_on_after(timeout_s):
        while not done():  # noqa: ASYNC110 - files that other processes write
            await anyio.sleep(_POLL_S)
        return
    raise StartFailed(f"{what} did not come back within {timeout_s:.0f} s; run the same command again")
