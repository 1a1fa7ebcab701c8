"""Checks the record, then flips one byte of it in a copy and checks that."""

import base64
import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from dominie_demo.places import PYTHON
from dominie_kit.house.system import System

_OFFLINE = [str(PYTHON), "-m", "dominie_audit.adapters.offline"]
_TIMEOUT_S = 60.0


def tamper_and_check(system: System, folder: Path) -> dict[str, Any]:
    """Export the log, check it, and check a copy in which one byte of one event is not what was written."""
    copy, flipped = folder / "log.jsonl", folder / "log-tampered.jsonl"
    environment = {**os.environ, "DOMINIE_NATS_URL": system.nats_url, "DOMINIE_KEYS": str(system.keys.path)}
    subprocess.run([*_OFFLINE, "export", str(copy)], env=environment, check=True, timeout=_TIMEOUT_S)
    position = _flip(copy, flipped)
    whole, broken = _verify(copy), _verify(flipped)
    return {
        "events": whole["events"],
        "log_ok": whole["ok"],
        "tampered_at": position,
        "tamper_found_at": broken["broken_at"],
    }


def _flip(copy: Path, flipped: Path) -> int:
    """Flip one bit in the middle of an event that is not its stream's last; its position."""
    events = [json.loads(line) for line in copy.read_text().splitlines()]
    lengths = Counter(event["stream"] for event in events)
    event = next(event for event in events if event["version"] == 2 and lengths[event["stream"]] > 2)
    raw = bytearray(base64.b64decode(event["raw"]))
    raw[len(raw) // 2] ^= 1
    event["raw"] = base64.b64encode(raw).decode()
    flipped.write_text("".join(json.dumps(event) + "\n" for event in events))
    return int(event["position"])


def _verify(path: Path) -> dict[str, Any]:
    done = subprocess.run([*_OFFLINE, "verify", str(path)], capture_output=True, text=True, timeout=_TIMEOUT_S)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
