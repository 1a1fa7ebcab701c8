"""The subjects of the bus, built and parsed in one place (see the table in docs/design.md).

Identity is in the subject because the broker can enforce a subject. A *principal* is `a-NAME` (an agent),
`u-NAME` (a person) or `w-NAME` (a tool worker).
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from dominie_contracts.problems import Invalid
from dominie_contracts.tokens import decode_token, encode_token

PLATFORM = "svc"
"""The tenant of what belongs to no tenant (policies, models); nobody may register it."""
SERVICES = ("identity", "guardrail", "scheduler", "model", "tool", "memory", "judge", "audit", "gateway")
SEGMENTS_STREAM = "SEGMENTS"
"""The JetStream stream whose one message says which segments the log has."""
KEYS_STREAM, JWKS_SUBJECT = "KV_KEYS", "$KV.KEYS.jwks"
"""The bucket of public keys, and its one key: a JSON Web Key Set that identity alone writes."""
SEGMENTS_SUBJECT, MOVED_SUBJECT = "log.segments", "log.moved"
"""Where that is written, and where everybody who uses the log hears that it was."""
ARTIFACTS_STREAM, ARTIFACTS = "ARTIFACTS", "art.>"
"""The JetStream stream of the artifacts, and all of its subjects."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_PRINCIPAL = re.compile(r"[auw]-[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,40}")


def check_tenant(tenant: str) -> str:
    """Return the tenant if it may be one.

    Raises:
        Invalid: It is not 1 to 63 of `[a-z0-9_-]`, or is `svc`.
    """
    if not _NAME.fullmatch(tenant) or tenant == PLATFORM:
        raise Invalid(f"{tenant!r} cannot be a tenant: use 1 to 63 of [a-z0-9_-], and not {PLATFORM!r}")
    return tenant


def check_principal(principal: str) -> str:
    """Return the principal if it is `a-NAME`, `u-NAME` or `w-NAME`.

    Raises:
        Invalid: It is not.
    """
    if not _PRINCIPAL.fullmatch(principal):
        raise Invalid(f"{principal!r} is no principal: use a-NAME (agent), u-NAME (person) or w-NAME (tool worker)")
    return principal


def _check_word(word: str) -> str:
    if not _WORD.fullmatch(word):
        raise Invalid(f"{word!r} is no service or command name")
    return word


@dataclass(frozen=True, slots=True)
class CommandSubject:
    """`cmd.{tenant}.{principal}.{service}.{command}[.{resource}]`."""

    tenant: str
    principal: str
    service: str
    command: str
    resource: str | None = None

    def __str__(self) -> str:
        head = ("cmd", encode_token(check_tenant(self.tenant)), encode_token(check_principal(self.principal)))
        tail = () if self.resource is None else (encode_token(self.resource),)
        return ".".join((*head, _check_word(self.service), _check_word(self.command), *tail))

    @classmethod
    def parse(cls, subject: str) -> "CommandSubject":
        """Parse a command's subject.

        Raises:
            Invalid: It is not one that `str()` of this class writes.
        """
        parts = subject.split(".")
        if len(parts) not in (5, 6) or parts[0] != "cmd":
            raise Invalid(f"{subject!r} is not cmd.TENANT.PRINCIPAL.SERVICE.COMMAND[.RESOURCE]")
        tenant, principal = check_tenant(decode_token(parts[1])), check_principal(decode_token(parts[2]))
        resource = decode_token(parts[5]) if len(parts) == 6 else None
        return cls(tenant, principal, _check_word(parts[3]), _check_word(parts[4]), resource)


def service_subject(service: str, command: str) -> str:
    """`svc.{service}.{command}`: a command between services."""
    return f"svc.{_check_word(service)}.{_check_word(command)}"


def heartbeat_subject(service: str) -> str:
    """`hb.{service}`: what a service says of itself every second, not durable."""
    return f"hb.{_check_word(service)}"


@dataclass(frozen=True, slots=True)
class StreamName:
    """The name of one event stream: `{tenant}.{category}.{id}`. Its events may be in several segments of the log."""

    tenant: str
    category: str
    id: str

    def __str__(self) -> str:
        return f"{_stream_head(self.tenant, self.category)}.{encode_token(self.id)}"

    @classmethod
    def parse(cls, text: str) -> "StreamName":
        """Parse a stream's name.

        Raises:
            Invalid: It is none.
        """
        parts = text.split(".")
        if len(parts) != 3:
            raise Invalid(f"{text!r} is not TENANT.CATEGORY.ID")
        return cls(decode_token(parts[0]), _check_word(parts[1]), decode_token(parts[2]))


@lru_cache(maxsize=1024)
def _stream_head(tenant: str, category: str) -> str:
    checked = tenant if tenant == PLATFORM else check_tenant(tenant)
    return f"{encode_token(checked)}.{_check_word(category)}"


def segment_stream(segment: int) -> str:
    """`EVENTS_{segment}`: the JetStream stream that one segment of the log is."""
    return f"EVENTS_{segment}"


def fence_subject(segment: int) -> str:
    """`log.fence.{segment}`: the operator's last message into a segment, after which nothing gets in any more."""
    return f"log.fence.{segment}"


def event_subject(segment: int, stream: str) -> str:
    """`evt.{segment}.{tenant}.{category}.{id}`: where the events of a stream go in one segment."""
    return f"evt.{segment}.{stream}"


def event_filter(category: str | None = None) -> str:
    """The subject filter of one category's events in every segment, or of all."""
    return f"evt.*.*.{_check_word(category)}.*" if category else "evt.>"


def chunk_subject(tenant: str, key: str, name: str) -> str:
    """`art.{tenant}.{key}.c.{name}`: one chunk of artifacts; `key` is the id of the person's key."""
    return f"{artifacts_of(tenant, key)}.c.{encode_token(name)}"


def manifest_subject(tenant: str, key: str, holder: str, name: str) -> str:
    """`art.{tenant}.{key}.m.{holder}.{name}`: the manifest of an artifact, once for each run that holds it."""
    return f"{artifacts_of(tenant, key)}.m.{encode_token(holder)}.{encode_token(name)}"


def any_manifest(tenant: str, name: str) -> str:
    """`art.{tenant}.*.m.*.{name}`: the manifest of an artifact, whoever holds it."""
    return f"art.{encode_token(check_tenant(tenant))}.*.m.*.{encode_token(name)}"


@dataclass(frozen=True, slots=True)
class ArtifactSubject:
    """A subject of a chunk, which no run holds by itself, or of a manifest, parsed."""

    tenant: str
    key: str
    name: str
    holder: str | None

    @classmethod
    def parse(cls, subject: str) -> "ArtifactSubject":
        """Parse one.

        Raises:
            Invalid: It is none.
        """
        match [decode_token(part) for part in subject.split(".")]:
            case ["art", tenant, key, "c", name]:
                return cls(tenant, key, name, None)
            case ["art", tenant, key, "m", holder, name]:
                return cls(tenant, key, name, holder)
        raise Invalid(f"{subject!r} is no subject of an artifact")


def artifacts_of(tenant: str, key: str) -> str:
    """`art.{tenant}.{key}`: what the subjects of a person's artifacts begin with."""
    return f"art.{encode_token(check_tenant(tenant))}.{encode_token(key)}"


def call_subject(tenant: str, tool: str) -> str:
    """`call.{tenant}.{tool}`: an invocation for a tool's workers."""
    return f"call.{encode_token(check_tenant(tenant))}.{encode_token(tool)}"


def return_subject(tenant: str, tool: str, instance: str, call: str) -> str:
    """`ret.{tenant}.{tool}.{instance}.{call}`: a worker's answer to one invocation by one instance."""
    tail = f"{encode_token(instance)}.{encode_token(call)}"
    return f"ret.{encode_token(check_tenant(tenant))}.{encode_token(tool)}.{tail}"


def out_subject(tenant: str, principal: str, run: str) -> str:
    """`out.{tenant}.{principal}.{run}`: streamed tokens and progress, not durable."""
    return f"out.{encode_token(check_tenant(tenant))}.{encode_token(check_principal(principal))}.{encode_token(run)}"


def inbox_prefix(tenant: str, principal: str) -> str:
    """`_INBOX.{tenant}.{principal}`: where replies to a principal go; nobody else can read it."""
    return f"_INBOX.{encode_token(check_tenant(tenant))}.{encode_token(check_principal(principal))}"


def service_inbox_prefix(service: str) -> str:
    """`_INBOX.svc.{service}`: where replies to a service go."""
    return f"_INBOX.{PLATFORM}.{_check_word(service)}"


def broker_urls(text: str) -> list[str]:
    """Where the broker listens: one address, or a cluster's, parted by commas."""
    return [url.strip() for url in text.split(",") if url.strip()]
