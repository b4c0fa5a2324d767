"""What early stopping needs to be installed."""

from __future__ import annotations

import subprocess
import sys


def test_policies_need_neither_nni_nor_torch() -> None:
    code = (
        "import sys, ga.early_stopping.policies; "
        "print([m for m in ('torch', 'nni', 'nni_plugin', 'evaluators', 'hardware') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
