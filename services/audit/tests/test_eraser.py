"""The order of an erasure: the key goes before a file is read, whatever time the caller has left."""

from pathlib import Path

import pytest

from dominie_audit.adapters.erasure import eraser
from dominie_audit.adapters.erasure import residue as residues
from dominie_audit.adapters.erasure.eraser import Eraser
from dominie_audit.adapters.erasure.residue import Needles, residue
from dominie_audit.adapters.index.terms import own_terms
from dominie_audit.adapters.tlog.published import Own
from dominie_audit.projection import Log
from dominie_contracts.identity import Erase, Forgotten
from dominie_kit import Context
from dominie_kit.context import deadline_in
from dominie_kit.handler_testing import Desk
from dominie_kit.heartbeats import Heartbeats

pytestmark = pytest.mark.anyio


async def test_the_key_goes_before_a_file_is_read_though_the_callers_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = list[str]()

    def looked(folder: Path, needles: Needles) -> tuple[int, tuple[str, ...]]:
        done.append("read")
        return residue(folder, needles)

    async def identity(context: Context, erase: Erase) -> Forgotten:
        done.append(f"destroyed {erase.principal}")
        assert context.left_s > 1
        return Forgotten(keys=("k",), position=7)

    monkeypatch.setattr(eraser, "residue", looked)
    monkeypatch.setattr(residues, "residue", looked)
    monkeypatch.setattr(eraser, "_CHECKPOINT_S", 0)
    own = Own.open(tmp_path, "dominie/test")
    with Log(term=own_terms(tmp_path / "index.key")) as log:
        erasing = Eraser(
            log, Desk("audit").keyring, own.published, own.signer, Heartbeats(), tmp_path, identity, timeout_s=0.01
        )
        context = Context(tenant="acme", principal="u-privacy", key="k", deadline=deadline_in(-1))
        erasure = await erasing.erase("u-dana", context)
    assert done == ["destroyed u-dana", "read", "read"]
    assert erasure.receipt.position == context.position == 7
