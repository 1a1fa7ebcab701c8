"""Settings of the tool service."""

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, IPvAnyNetwork, model_validator

from dominie_contracts.artifact import CHUNK_BYTES, MAX_CHUNKS
from dominie_contracts.egress import Network
from dominie_contracts.tool import Profile
from dominie_kit import KitSettings
from dominie_kit.checks.check import DENY, INJECTION
from dominie_kit.checks.installed import installed
from dominie_kit.checks.looking import CPU_S


class Settings(KitSettings):
    """Beside the shared ones: `DOMINIE_TOOL_…`."""

    tool_sandbox_backend: Literal["bubblewrap", "runsc"] = "bubblewrap"
    """What builds the box of a sandboxed call that says nothing else."""
    tool_runsc: str = "runsc"
    """gVisor's program, a path or a name on PATH."""
    tool_sandbox_memory_mb: int = Field(default=256, ge=16)
    """Memory of one sandboxed call."""
    tool_sandbox_processes: int = Field(default=32, ge=1)
    """Processes of one sandboxed call."""
    tool_sandbox_output_bytes: int = Field(default=131_072, ge=1024)
    """What one sandboxed call may return."""
    tool_sandbox_most: Profile = Profile(
        memory_mb=1024, processes=128, scratch_mb=256, output_bytes=16 * 2**20, network=Network(hosts=("*",))
    )
    """What a tool may ask for in its profile."""
    tool_sandbox_owners: dict[str, Profile] = Field(default_factory=dict)
    """The same for the tools of one owner, by principal; what is left out is as for all."""
    tool_sandboxes: int = Field(default=4, ge=1)
    """Sandboxed calls at once."""
    tool_sandboxes_waiting: int = Field(default=2, ge=0)
    """Boxes that wait for a call, from the first one on."""
    tool_egress_private: tuple[IPvAnyNetwork, ...] = ()
    """Networks that tools may reach, and MCP servers be in, though they are not the internet's: `["10.1.0.0/16"]`."""
    tool_checks_cpu_s: float = Field(default=CPU_S, gt=0)
    """The processor's time that a check may take which does not promise to be linear."""
    tool_checks_results: str = ""
    """The checks that look at results, parted by commas: `secret,pii`, `deny` for every deny list."""
    tool_checks_model: str = ""
    """The model that is asked for `injection`, with the run's own token; none by default."""
    tool_checks_model_s: float = Field(default=5.0, gt=0)
    """How long it may think; never more than half of what is left of the command's time."""
    tool_mcp_servers: int = Field(default=8, ge=1)
    """MCP servers that run at once, each for one person; one tenant has half of them at most."""
    tool_mcp_connections: int = Field(default=64, ge=1)
    """The same for those that are connected over HTTP."""
    tool_mcp_idle_s: float = Field(default=300.0, gt=0)
    """How long one runs that nobody calls."""
    tool_mcp_start_s: float = Field(default=30.0, gt=0)
    """How long one may take until it says what it offers."""
    tool_mcp_memory_mb: int = Field(default=512, ge=16)
    """Memory of one, its scratch folder included."""
    tool_mcp_processes: int = Field(default=64, ge=1)
    """Processes and threads of one."""
    tool_mcp_output_bytes: int = Field(default=4 * 2**20, ge=4096)
    """What one may write for each request, or answer to it."""
    tool_artifact_bytes: int = Field(default=64 * 2**20, ge=CHUNK_BYTES, le=MAX_CHUNKS * CHUNK_BYTES)
    """The largest artifact, and how large those among a call's arguments may be together."""

    @property
    def result_checks(self) -> tuple[str, ...]:
        """The names of the checks that look at results."""
        return tuple(self.tool_checks_results.replace(",", " ").split())

    @model_validator(mode="after")
    def _checks_are_there(self) -> Self:
        here, known = installed(), {DENY, *([INJECTION] if self.tool_checks_model else [])}
        for name in self.result_checks:
            if name not in here.checks.keys() | known:
                why = here.broken.get(name, f"there is {', '.join(sorted(here.checks.keys() | known))}")
                raise ValueError(f"DOMINIE_TOOL_CHECKS_RESULTS names {name!r}, which cannot look: {why}")
        return self

    def most_of(self, owner: str) -> Profile:
        """What the tools of an owner may ask for."""
        own = self.tool_sandbox_owners.get(owner, Profile())
        said = {name: getattr(own, name) for name in own.model_fields_set}
        return self.tool_sandbox_most.model_copy(update={name: each for name, each in said.items() if each is not None})

    @property
    def bus_hosts(self) -> tuple[str, ...]:
        """Where the bus and the log are, which no tool may reach."""
        found = (urlsplit(url).hostname for url in (*self.nats_url.split(","), self.store))
        return tuple(each for each in found if each)
