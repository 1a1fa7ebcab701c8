"""The policies that come along for whoever wants them hold what they say, and get where they are wanted."""

from pathlib import Path

import pytest

from dominie_contracts.tool import Tools
from dominie_kit.errors import KitError
from dominie_kit.policy.cases import read_cases, run_cases, unproven
from dominie_kit.policy.checking import check_policies, declared_shapes
from dominie_kit.policy.commands import parsed
from dominie_kit.policy.folder import read_policies
from dominie_kit.policy.library import copy_library, library_folder, shelved

FOLDER = library_folder()


def test_every_policy_of_the_library_is_proven_by_a_case() -> None:
    files, tools = read_policies(FOLDER), Tools.model_validate_json((FOLDER / "tools.json").read_text())
    assert check_policies(files, declared_shapes(files)) == sum(len(each.policies) for each in shelved())
    results = run_cases(read_cases(FOLDER), parsed(files), tools.tools)
    assert [(each.name, each.got, each.policies) for each in results if not each.ok] == []
    assert unproven(results, parsed(files)) == []


def test_the_library_says_what_it_is_about() -> None:
    assert [each.name for each in shelved()] == sorted(
        ["amounts", "code", "confidential", "granted", "links", "objects", "recipients", "times"]
    )
    assert all(each.about and not each.about.startswith("@") for each in shelved())


def test_it_is_copied_whole_and_over_nothing(tmp_path: Path) -> None:
    new = tmp_path / "new" / "folder"
    names = copy_library(new)
    assert {path.name: path.read_text() for path in new.iterdir()} == {
        name: (FOLDER / name).read_text() for name in names
    }
    own = tmp_path / "own"
    own.mkdir()
    (own / "objects.cedar").write_text("// mine")
    with pytest.raises(KitError, match=r"objects\.cedar"):
        copy_library(own)
    assert [path.name for path in own.iterdir()] == ["objects.cedar"]
    with pytest.raises(KitError, match="cannot be written"):
        copy_library(own / "objects.cedar" / "under")
