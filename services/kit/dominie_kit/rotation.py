"""Replaces the deployment's own keys while they are used. The operator's work, where the folder of keys is.

The broker knows services and the callout's issuer from its configuration, and takes neither at a reload ("config reload
not supported for AuthCallout"). So under `dominie up` it is started again, and whoever has a new key is, one after the
other; what callers try meanwhile is tried again.
"""

import os
import signal
from collections.abc import Callable, Iterable

import anyio

from dominie_contracts import Unavailable
from dominie_contracts.identity import IDENTITY, Keys, KeyUse, Replacement, RotateKeys
from dominie_kit.errors import BrokerFailed, StartFailed
from dominie_kit.keys import KeyFolder, Roster
from dominie_kit.operator import Operator, operator
from dominie_kit.public_keys import read_keys
from dominie_kit.state import Running, StateFolder

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


async def rotate_services(state: StateFolder, names: Iterable[str], *, tell: Tell) -> Keys:
    """Give services new connection keys; the broker takes the old ones until each of them has its new ones.

    Raises:
        KitError: The broker or a service did not come back in time.
    """
    keys, wanted = state.keys(), tuple(names)
    before = keys.roster()
    for name in wanted:
        keys.replace_service(name)
    await _restart_broker(state)
    for name in wanted:
        tell(name)
        await _restarted(state, name)
    keys.retire(wanted)
    await _restart_broker(state)
    after = keys.roster()
    return await _record(state, "service", [pair for name in wanted for pair in _pairs(name, before, after)])


async def rotate_callout(state: StateFolder, *, tell: Tell) -> Keys:
    """Have the broker's user tokens issued by a new key. Nobody new connects until identity is back.

    Identity goes first: an answer of the wrong issuer would be a refusal, where silence is waited for.

    Raises:
        KitError: The broker or identity did not come back in time.
    """
    before = state.keys().roster().callout_issuer
    state.keys().replace_callout_issuer()
    tell(IDENTITY)
    gone = _end(state, IDENTITY)
    await _restart_broker(state)
    await _until(lambda: _is_back(state.up().services[IDENTITY], gone), _RESTART_S, IDENTITY)
    now = state.keys().roster().callout_issuer
    return await _record(state, "callout", [(IDENTITY, before, now)])


def _pairs(name: str, before: Roster, after: Roster) -> list[tuple[str, str, str]]:
    kinds = zip(("edge", "inner"), before.services[name], after.services[name], strict=True)
    return [(f"{name}/{kind}", old, new) for kind, old, new in kinds]


async def _record(state: StateFolder, use: KeyUse, found: list[tuple[str, str, str]]) -> Keys:
    """Have identity write down what was done; it may be starting still."""
    replaced = tuple(Replacement(use=use, name=name, nkey=now, previous=before) for name, before, now in found)
    with anyio.fail_after(_TELL_S):
        while True:
            try:
                async with operator(state.up().nats_url, state.keys()) as asking:
                    return await asking.ask(RotateKeys(keys=replaced, overlap_s=0), Keys)
            except (Unavailable, BrokerFailed):
                await anyio.sleep(_POLL_S)


async def _restart_broker(state: StateFolder) -> None:
    """Have the broker read its configuration, which the supervisor writes with the keys that are there now."""
    gone = state.up().broker.pid
    os.kill(gone, signal.SIGTERM)
    await _until(lambda: _is_back(state.up().broker, gone), _RESTART_S, "the broker")


async def _restarted(state: StateFolder, name: str) -> None:
    gone = _end(state, name)
    with anyio.move_on_after(_END_S):
        await _until(lambda: state.up().services[name].pid != gone, _RESTART_S, name)
    if gone and state.up().services[name].pid == gone:
        os.kill(gone, signal.SIGKILL)  # it does not end; the supervisor would not wait longer either
    await _until(lambda: _is_back(state.up().services[name], gone), _RESTART_S, name)


def _end(state: StateFolder, name: str) -> int:
    pid = state.up().services[name].pid
    if pid:
        os.kill(pid, signal.SIGTERM)
    return pid


def _is_back(running: Running, gone: int) -> bool:
    return running.ready and running.pid not in (0, gone)


async def _until(done: Callable[[], bool], timeout_s: float, what: str) -> None:
    with anyio.move_on_after(timeout_s):
        while not done():  # noqa: ASYNC110 - files that other processes write
            await anyio.sleep(_POLL_S)
        return
    raise StartFailed(f"{what} did not come back within {timeout_s:.0f} s; run the same command again")
