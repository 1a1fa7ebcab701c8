"""What the program of an MCP server is given beside its files: a network, an environment, secrets. Pure."""

import re

from dominie_contracts import Forbidden, Invalid
from dominie_contracts.digests import digest_json
from dominie_contracts.servers import Server
from dominie_contracts.tool import Profile
from dominie_tool.aggregate import beyond_network
from dominie_tool.mcp.headers import is_telling

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_MOST, _LONGEST = 32, 4_096
_OURS = re.compile(r"PATH|(https?|all|no)_proxy|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE", re.IGNORECASE)


def check_profile(server: Server) -> None:
    """See that a server can be given what it asks for, and that nothing secret stands in the log.

    Raises:
        Invalid: It cannot, or something does.
    """
    network, environment = server.network, server.environment
    if server.url is not None and (network or environment):
        raise Invalid("an address has no box: its network and its environment are its own")
    if network is not None and not network.hosts:
        raise Invalid("a network is of hosts, and a secret goes to one of them: name it with --host")
    if len(environment) > _MOST:
        raise Invalid(f"a server gets at most {_MOST} values in its environment")
    for name, value in environment.items():
        _check(name, value)
    if network is not None and (twice := environment.keys() & set(network.secrets)):
        raise Invalid(f"{min(twice)!r} is a secret, or a plain value")


def check_network(server: Server, most: Profile) -> None:
    """See that who accepts a server may give it its network.

    Raises:
        Forbidden: It is more than they may.
    """
    if server.network is not None and (excess := beyond_network(server.name, server.network, most.network)):
        raise Forbidden(excess.text, part=excess.part, limit=excess.limit)


def pins_of(server: Server) -> dict[str, str]:
    """What of this is accepted with the server: another one is another listing."""
    network = {"network": digest_json(server.network.model_dump(mode="json"))} if server.network else {}
    environment = {"environment": digest_json(dict(server.environment))} if server.environment else {}
    return {**network, **environment}


def _check(name: str, value: str) -> None:
    if not _NAME.fullmatch(name) or _OURS.fullmatch(name):
        raise Invalid(f"{name[:64]!r} is no name that a server can be given in its environment")
    if len(value) > _LONGEST or not value.isprintable():
        raise Invalid(f"the value of {name!r} is one line of at most {_LONGEST} characters")
    if is_telling(name):
        raise Invalid(f"the value of {name!r} would stand in the log: `dominie secret set {name}`, and --secret {name}")
