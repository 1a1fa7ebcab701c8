"""A program under an agent's identity: started, given what it needs, sent the signals that come, tidied up after."""

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from dominie._again import FORK
from dominie._config import (
    APPROVER_SEED_FILE,
    KEYS,
    PRINCIPAL,
    RIGHTS,
    SEED,
    SEED_FILE,
    TENANT,
    TOKEN_FILE,
    URL,
    USER,
    as_user,
)
from dominie._processes import Process, born, record, recorded
from dominie._project import Project
from dominie._sync import Client
from dominie.passphrases import PASSPHRASE_FILE
from dominie_contracts import Invalid, Problem
from dominie_contracts.identity import Done
from dominie_contracts.keys import ApiKey, IssueApiKey, RevokeApiKey
from dominie_contracts.subjects import check_principal

TIMEOUT_S = 20.0
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
HIDDEN = frozenset((SEED, FORK, PASSPHRASE_FILE, APPROVER_SEED_FILE, KEYS, TOKEN_FILE))
"""What a program that is run as an agent does not get: where others' keys are, and what opens them."""
_NOT_NAME = re.compile(r"[^A-Za-z0-9_.@-]+")


def execute(command: Sequence[str], name: str | None, user: str | None) -> int:
    """Run a program as an agent; its exit code.

    Raises:
        Problem: It could not be given an identity, or is no program.
    """
    project = Project.find()
    principal = check_principal(f"a-{name.removeprefix('a-')}" if name else f"a-{program_name(command)}")
    whom = as_user(user) if user else project.developer
    with Client(principal.removeprefix("a-"), credentials=None, timeout_s=TIMEOUT_S):
        pass  # it is registered, and its key is good
    with Client(credentials=project.developer_credentials(), timeout_s=TIMEOUT_S) as developer:
        _tidy(project.folder, developer)
        key = None
        if project.gateway_url is not None:
            key = developer.ask(IssueApiKey(principal=principal, user=whom), ApiKey)
    environment = surroundings(project, principal, whom, key)
    try:
        return supervise(
            command, environment, folder=project.folder, principal=principal, key_id=key.id if key else None
        )
    finally:
        if key is not None:
            _revoke(project, principal, key.id)


def program_name(command: Sequence[str]) -> str:
    """What to call a program: its script, its module, else itself."""
    words = list(command)
    script = next((Path(word).stem for word in words if word.endswith(".py")), None)
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else None
    return _NOT_NAME.sub("-", script or module or Path(words[0]).name).strip("-._@")[:60] or "agent"


def supervise(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    folder: Path,
    principal: str,
    key_id: str | None = None,
    stdout: int | None = None,
) -> int:
    """Run a program to its end, handing on the signals that come; its exit code.

    Raises:
        Invalid: It is no program.
    """
    with _forwarding() as adopt:
        try:
            child = subprocess.Popen(command, env=environment, stdout=stdout)
        except OSError as error:
            raise Invalid(f"{command[0]!r} cannot be run: {error.strerror}") from error
        adopt(child)
        process = Process(
            agent=principal,
            pid=child.pid,
            command=tuple(command),
            started=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
            born=born(child.pid),
            key_id=key_id,
        )
        path = record(folder, process)
        try:
            code = child.wait()
        finally:
            path.unlink(missing_ok=True)
    return 128 - code if code < 0 else code


def surroundings(project: Project, principal: str, user: str, key: ApiKey | None) -> dict[str, str]:
    """This process's environment, and who the program is."""
    given = {
        URL: project.url,
        TENANT: project.tenant,
        PRINCIPAL: principal,
        SEED_FILE: str(project.seed_path(principal)),
        RIGHTS: f"{project.rights_s:g}",
        USER: user,
    }
    if key is not None:
        given |= {"OPENAI_BASE_URL": f"{project.gateway_url}/v1", "OPENAI_API_KEY": key.key}
    return {name: value for name, value in os.environ.items() if name not in HIDDEN} | given


@contextmanager
def _forwarding() -> "Iterator[Callable[[subprocess.Popen[bytes]], None]]":
    """Hand signals on to the child that is adopted, those too that came before it."""
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        elif number not in (signal.SIGINT, signal.SIGQUIT) or not _in_foreground():  # a terminal has sent it those
            child.send_signal(number)

    def adopt(born: "subprocess.Popen[bytes]") -> None:
        nonlocal child
        child = born
        for number in early:
            child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield adopt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


def _tidy(folder: Path, developer: Client) -> None:
    """Revoke the keys that programs left behind whose supervisor was killed."""
    for path, process in recorded(folder).items():
        if not process.alive():
            if process.key_id is not None:
                try:
                    developer.ask(RevokeApiKey(principal=process.agent, id=process.key_id), Done)
                except Problem as problem:
                    print(f"dominie: key {process.key_id} is still good: {problem}", file=sys.stderr)
                    continue
            path.unlink(missing_ok=True)


def _revoke(project: Project, principal: str, id_: str) -> None:
    try:
        with Client(credentials=project.developer_credentials(), timeout_s=TIMEOUT_S) as developer:
            developer.ask(RevokeApiKey(principal=principal, id=id_), Done, key=f"revoke/{id_}/{uuid.uuid4().hex}")
    except Problem as problem:
        print(f"dominie: the API key {id_} could not be revoked: {problem}", file=sys.stderr)
