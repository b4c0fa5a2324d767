"""Where things went in version 0.2: importing one by its old path raises an error that says so.

Each package has a table of its own, so that each works without the others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

MOVED = {
    "nni_plugin.callbacks": "nni_plugin.protocol.callbacks",
    "nni_plugin.chromosome": "nni_plugin.study.journal",
    "nni_plugin.classargs": "nni_plugin.study.tuner_args",
    "nni_plugin.cli_device": "nni_plugin.cli.device",
    "nni_plugin.cli_model": "nni_plugin.cli.model",
    "nni_plugin.cli_results": "nni_plugin.cli.results",
    "nni_plugin.cli_run": "nni_plugin.cli.run",
    "nni_plugin.cli_sensitivity": "nni_plugin.cli.sensitivity",
    "nni_plugin.cli_setup": "nni_plugin.cli.setup",
    "nni_plugin.config_check": "nni_plugin.setup.config_check",
    "nni_plugin.doctor": "nni_plugin.setup.doctor",
    "nni_plugin.ending": "nni_plugin.protocol.experiment_end",
    "nni_plugin.experiment": "nni_plugin.results.experiment",
    "nni_plugin.follow": "nni_plugin.cli.progress",
    "nni_plugin.front": "nni_plugin.results.pareto_front",
    "nni_plugin.init_experiment": "nni_plugin.setup.scaffold",
    "nni_plugin.journal": "nni_plugin.study.journal",
    "nni_plugin.launch": "nni_plugin.protocol.dispatcher",
    "nni_plugin.manager": "nni_plugin.protocol.manager",
    "nni_plugin.metrics": "nni_plugin.protocol.metrics",
    "nni_plugin.page": "nni_plugin.results.live_page",
    "nni_plugin.pairing": "nni_plugin.protocol.trial_parameters",
    "nni_plugin.pick": "nni_plugin.study.selection",
    "nni_plugin.questions": "nni_plugin.cli.prompts",
    "nni_plugin.report": "nni_plugin.results.report",
    "nni_plugin.reruns": "nni_plugin.protocol.reruns",
    "nni_plugin.rungs": "ga.early_stopping.policy",
    "nni_plugin.search": "nni_plugin.local_run",
    "nni_plugin.serve": "nni_plugin.results.page_server",
    "nni_plugin.session": "nni_plugin.setup.launcher",
    "nni_plugin.stopping": "ga.early_stopping.policies",
    "nni_plugin.study.FAILURE_LIMIT": "nni_plugin.study.study.FAILURE_LIMIT",
    "nni_plugin.study.MISSING_LIMIT": "nni_plugin.study.study.MISSING_LIMIT",
    "nni_plugin.study.Study": "nni_plugin.study.study.Study",
    "nni_plugin.tables": "nni_plugin.cli.tables",
    "nni_plugin.template_task": "nni_plugin.setup.template_task",
    "nni_plugin.trial_command": "nni_plugin.results.trial_command",
    "nni_plugin.trials": "nni_plugin.study.trial_log",
}


class _Moved:
    """Python's last finder: asked only for what isn't there, names of a folder included."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        if name in MOVED:
            # Without its argument `name`, or `from package import module` would hide the message.
            raise ModuleNotFoundError(f"{name} is {MOVED[name]} since version 0.2")


def install() -> None:
    """Lets Python ask the table."""
    sys.meta_path.append(_Moved())
