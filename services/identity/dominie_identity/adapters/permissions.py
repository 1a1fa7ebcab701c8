"""What a principal may publish and subscribe now: its registration, with `*` read as what the tenant has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dominie_contracts.identity import Registered
from dominie_contracts.rights import Rights, agent_rights, person_rights, serves, worker_rights
from dominie_contracts.token import EVERYTHING, Grants
from dominie_contracts.tool import ToolRegistered
from dominie_identity.projection import Catalog, Offers

NAMESPACES = ("user", "shared")
"""The memory namespaces that `*` stands for."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Derives rights from registrations and from what there is."""

    catalog: Catalog
    offers: Offers

    def of(self, registered: Registered) -> Rights:
        """The rights of a principal; of what is no agent, person or worker, none."""
        tenant, principal = registered.tenant, registered.principal
        tools = self.catalog.tools(tenant)
        match principal[:2]:
            case "a-":
                return agent_rights(tenant, principal, self._expanded(registered.grants, tools))
            case "u-":
                return person_rights(tenant, principal, registered.groups)
            case "w-":
                served = (name for name, tool in tools.items() if serves(registered, tool.spec, tool.owner))
                return worker_rights(tenant, principal, sorted(served))
            case _:
                return Rights((), ())

    def _expanded(self, grants: Grants, tools: Mapping[str, ToolRegistered]) -> Grants:
        return Grants(
            tools=_names(grants, "tools", tuple(tools)),
            models=_names(grants, "models", self.offers.models),
            namespaces=_names(grants, "namespaces", NAMESPACES),
        )


def _names(
    grants: Grants, kind: Literal["tools", "models", "namespaces"], there_are: tuple[str, ...]
) -> tuple[str, ...]:
    """The literal names of one kind of grant, each once."""
    named: tuple[str, ...] = getattr(grants, kind)
    all_ = (*named, *there_are) if EVERYTHING in named else named
    return tuple(dict.fromkeys(name for name in all_ if name != EVERYTHING))
