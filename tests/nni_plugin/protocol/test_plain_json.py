"""Messages that would run code in the tuner, read by the real ``nni.load``."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

READ = """
import sys
from nni_plugin.protocol.plain_json import read_plain_json_only
if sys.argv[2] == "guarded":
    read_plain_json_only()
import nni
print(nni.load(sys.argv[1]))
"""


def messages(target: Path) -> dict[str, dict[str, object]]:
    """A folder is made by whatever is run."""
    pickled = base64.b64encode(f"cos\nmkdir\n(S'{target}'\ntR.".encode()).decode()
    return {
        "type": {"__nni_type__": f"bytes:{pickled}"},
        "object": {"__nni_obj__": pickled},
        "symbol": {"__symbol__": "path:os.mkdir", "__args__": [str(target)]},
        "instance": {"__instance_type__": f"bytes:{pickled}"},
        "enum": {"__enum__": {"__enum_instance_type__": ["evil", "Kind"], "name": "a"}},
    }


def read(message: object, guarded: str, folder: Path) -> str:
    (folder / "evil.py").write_text("import os\nos.mkdir('pwned')\n")
    command = [sys.executable, "-c", READ, json.dumps({"default": message}), guarded]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["type", "object", "symbol", "instance", "enum"])
def test_a_message_builds_nothing(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "pwned"
    message = messages(target)[kind]
    assert read(message, "guarded", tmp_path).strip() == str({"default": message})
    assert not target.exists()
    read(message, "as NNI has it", tmp_path)
    assert target.exists(), "the attack itself no longer works: this test proves nothing"
