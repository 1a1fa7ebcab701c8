"""The configuration of the NATS server: who may do what is decided by it, not by any of our processes."""

import json
from collections.abc import Iterable
from pathlib import Path

from dominie_contracts.keys import KeyUse
from dominie_contracts.rights import Rights, edge_rights, inner_rights, operator_rights, warden_rights
from dominie_kit.keys.folder import Roster

AUTH_TIMEOUT_S = 1.5
"""Below the server's first PING (2 s): a client that connects while nobody answers the callout tries again."""
STREAMS = Path("jetstream", "APP", "streams")
"""Where the server keeps the streams of the account APP, in its store."""
MAX_PENDING_MB = 256
"""What may wait for one connection before the broker cuts it off: a flood must not take a service away."""
MAX_SUBSCRIPTIONS = 2000
"""Of one connection. The server takes no such limit from the callout's user tokens."""
MAX_LOGS = 4
"""Each refusal is a line of the server's log: without an end, whoever is refused fills the disk."""


_LOG_SIZE = ("logfile_size_limit: 16MB", f"logfile_max_num: {MAX_LOGS}")


def server_config(
    roster: Roster,
    *,
    store: Path,
    host: str = "127.0.0.1",
    log: Path | None = None,
    name: str = "dominie",
    extra: Iterable[str] = (),
) -> str:
    """The text of a nats-server configuration; the port is given on the command line.

    The account APP holds the streams and everybody who works with them: services and the operator as static users,
    everybody else as the auth callout places them (`aud: "APP"` in the user token). AUTH holds the callout alone, the
    system account the warden, who may ask who is connected and kick.

    Args:
        roster: The static identities, as public nkeys.
        store: Where streams are kept.
        host: The address to listen on.
        log: A file for the server's log, instead of its standard error.
        name: The server's name; unlike in a cluster.
        extra: Further lines: a cluster block, TLS.
    """
    static = {nkey: operator_rights() for nkey in (roster.operator, *_retiring(roster, "operator"))}
    for old in (each for each in roster.retiring if each.use == "service"):
        static[old.previous] = _service_rights(old.name)
    for service, (edge, inner) in roster.services.items():
        static |= {edge: edge_rights(service), inner: inner_rights(service)}
    users = "\n".join(f"      {_user(nkey, rights)}" for nkey, rights in static.items())
    callout = tuple(dict.fromkeys((roster.callout_user, *_retiring(roster, "callout-user"))))
    wardens = {nkey: warden_rights() for nkey in (roster.warden, *_retiring(roster, "warden"))}
    by_hand = json.dumps([*callout, *wardens, *static])
    logging = () if log is None else (f"log_file: {json.dumps(str(log))}", *_LOG_SIZE)
    return "\n".join(
        (
            f"host: {json.dumps(host)}",
            f"server_name: {json.dumps(name)}",
            *logging,
            "max_payload: 1MB",
            "max_control_line: 64KB",
            f"max_pending: {MAX_PENDING_MB}MB",
            f"max_subscriptions: {MAX_SUBSCRIPTIONS}",
            'write_deadline: "10s"',
            f"jetstream {{ store_dir: {json.dumps(str(store))}, sync_interval: always }}",
            "accounts {",
            f"  AUTH {{ users: [ {', '.join(f'{{ nkey: {nkey} }}' for nkey in callout)} ] }}",
            f"  APP {{\n    jetstream: enabled\n    users: [\n{users}\n    ]\n  }}",
            f"  SYS {{ users: [ {', '.join(_user(nkey, rights) for nkey, rights in wardens.items())} ] }}",
            "}",
            "system_account: SYS",
            "authorization {",
            f"  timeout: {AUTH_TIMEOUT_S}",
            f"  auth_callout {{ issuer: {roster.callout_issuer}, account: AUTH, auth_users: {by_hand} }}",
            "}",
            *extra,
            "",
        )
    )


def _retiring(roster: Roster, use: KeyUse) -> tuple[str, ...]:
    return tuple(each.previous for each in roster.retiring if each.use == use)


def _service_rights(connection: str) -> Rights:
    """Of `tool/edge`."""
    service, _, kind = connection.partition("/")
    return edge_rights(service) if kind == "edge" else inner_rights(service)


def _user(nkey: str, rights: Rights) -> str:
    return (
        f"{{ nkey: {nkey}, permissions: {{ publish: {_only(rights.publish)}, subscribe: {_only(rights.subscribe)} }} }}"
    )


def _only(subjects: tuple[str, ...]) -> str:
    """An empty list would allow everything."""
    return f"{{ allow: {json.dumps(subjects)} }}" if subjects else '{ deny: [">"] }'
