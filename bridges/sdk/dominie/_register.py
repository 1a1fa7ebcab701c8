"""A developer registers the agents and tool workers of their project, without ceremony."""

import uuid

from dominie._ask import Question, ask
from dominie._config import Identity
from dominie._link import Link
from dominie._project import Project
from dominie_contracts import Grants
from dominie_contracts.identity import PrincipalView, Register
from dominie_contracts.token import EVERYTHING

TIMEOUT_S = 30.0
ALL = Grants(tools=(EVERYTHING,), models=(EVERYTHING,), namespaces=(EVERYTHING,))


def make_link(identity: Identity) -> Link:
    """A link that registers its principal when that is new here, or unknown to the broker."""
    project = identity.project
    if project is None:
        return Link(identity.credentials)

    async def admit() -> None:
        await register(project, identity)

    return Link(identity.credentials, admit=admit, new=identity.new)


async def register(project: Project, identity: Identity) -> None:
    """Register a principal of a project, as its developer: an agent may use all there is, for the developer; a
    worker may register any tool."""
    who = identity.credentials
    agent = who.principal.startswith("a-")
    command = Register(
        principal=who.principal,
        nkey=who.keys.public,
        grants=ALL if agent else Grants(tools=(EVERYTHING,)),
        users=(project.developer,) if agent else (),
    )
    link = Link(project.developer_credentials())
    try:
        await ask(link, Question(command=command, key=uuid.uuid4().hex, timeout_s=TIMEOUT_S), PrincipalView)
    finally:
        await link.close()
