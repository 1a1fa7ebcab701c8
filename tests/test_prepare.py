"""What a deployment of containers is prepared with: a service sees its own keys, and the broker none."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from dominie_contracts.subjects import SERVICES

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(sysconfig.get_path("scripts"))


def prepare(folder: Path) -> dict[str, str]:
    """Every file there is then, with its text."""
    subprocess.run([sys.executable, ROOT / "infra/prepare.py", folder], check=True, timeout=30)
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, str]:
    return prepare(folder)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_sees_its_own_keys_alone(files: dict[str, str], name: str) -> None:
    seen = {file.removeprefix(f"mounts/{name}/") for file in files if file.startswith(f"mounts/{name}/")}
    own = {"public.json", f"services/{name}.json"}
    assert seen == own | ({"identity.json", "warden.seed"} if name == "identity" else set())
    assert all(files[f"mounts/{name}/{file}"] == files[file] for file in seen)


def test_the_broker_takes_its_configuration_and_knows_no_secret(folder: Path, files: dict[str, str]) -> None:
    config = folder / "mounts/nats/nats.conf"
    subprocess.run([SCRIPTS / "nats-server", "-t", "-c", config], check=True, timeout=20, capture_output=True)
    assert "seed" not in files["mounts/nats/nats.conf"] and files["operator.seed"].strip() not in config.read_text()


def test_preparing_again_changes_nothing(folder: Path, files: dict[str, str]) -> None:
    assert prepare(folder) == files


def test_the_nodes_of_a_cluster_know_each_other(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "infra/prepare.py", tmp_path, "n1", "n2"], check=True, timeout=30)
    for name in ("n1", "n2"):
        text = (tmp_path / "mounts" / name / "nats.conf").read_text()
        assert f'server_name: "{name}"' in text
        assert 'routes: ["nats://n1:6222", "nats://n2:6222"]' in text
