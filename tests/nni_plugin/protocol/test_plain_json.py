"""Messages that would run code in the tuner, read by the real ``nni.load``."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

READ = """
import json, sys
from nni_plugin.protocol.plain_json import read_plain_json_only
if sys.argv[2] == "guarded":
    read_plain_json_only()
import nni
for message in json.loads(sys.argv[1]):
    try:
        print(nni.load(json.dumps(message)))
    except Exception as error:  # NNI has no use for what was built; that it was is the attack
        print(type(error).__name__)
"""


def messages(folder: Path) -> dict[str, dict[str, object]]:
    """By what they name. A folder of that name is made by whatever is run."""

    def pickled(name: str) -> str:
        return base64.b64encode(f"cos\nmkdir\n(S'{folder / name}'\ntR.".encode()).decode()

    return {
        "type": {"__nni_type__": f"bytes:{pickled('type')}"},
        "object": {"__nni_obj__": pickled("object")},
        "symbol": {"__symbol__": "path:os.mkdir", "__args__": [str(folder / "symbol")]},
        "instance": {"__instance_type__": f"bytes:{pickled('instance')}"},
        "enum": {"__enum__": {"__enum_instance_type__": ["evil", "Kind"], "name": "a"}},
    }


def read(found: list[dict[str, object]], guarded: str, folder: Path) -> list[str]:
    (folder / "evil.py").write_text("import os\nos.mkdir('enum')\n")
    command = [sys.executable, "-c", READ, json.dumps(found), guarded]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_message_builds_nothing(tmp_path: Path) -> None:
    named = messages(tmp_path)
    found: list[dict[str, object]] = [{"default": message} for message in named.values()]
    assert read(found, "guarded", tmp_path) == [str(message) for message in found]
    assert not any((tmp_path / name).exists() for name in named)
    read(found, "as NNI has it", tmp_path)
    works = [name for name in named if (tmp_path / name).exists()]
    assert works == list(named), "an attack itself no longer works: this test proves nothing"
