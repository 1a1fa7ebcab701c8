"""Where witnesses are."""

from dataclasses import dataclass
from typing import Self

from dominie.cosignatures import WitnessKey
from dominie.notes import ProofProblem
from dominie_audit.adapters.tlog.published import BadWitness


@dataclass(frozen=True, slots=True)
class Address:
    """One witness: where it is, and how its signatures are checked."""

    url: str
    key: WitnessKey

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `URL VKEY`.

        Raises:
            BadWitness
        """
        from httpx import URL, InvalidURL

        url, _, key = text.strip().partition(" ")
        if not url.startswith(("http://", "https://")):
            raise BadWitness(f"DOMINIE_AUDIT_WITNESSES: {text.strip()!r} is not `URL VKEY`")
        try:
            return cls(str(URL(url)).rstrip("/"), WitnessKey.parse(key))
        except (InvalidURL, ProofProblem) as error:
            raise BadWitness(f"DOMINIE_AUDIT_WITNESSES: {error}") from error


def addresses_of(text: str) -> tuple[Address, ...]:
    """Read several, parted by commas.

    Raises:
        BadWitness
    """
    return tuple(Address.parse(each) for each in text.split(",") if each.strip())
