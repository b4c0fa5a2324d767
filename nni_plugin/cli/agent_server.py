"""``joint-ga mcp``: experiments, fronts, picks and exports for agents (Model Context Protocol).

The server speaks on stdin and stdout, as https://modelcontextprotocol.io specifies it, and answers
for whoever started it: it reads experiments of this user, and `export` writes one folder.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nni_plugin.cli.output import MISTAKES, error_text
from nni_plugin.protocol.json_types import JsonObject

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from nni_plugin.study.trial_log import Trial

__all__ = ["add_commands", "server"]

_NOT_INSTALLED = "the package mcp is not installed (pip install 'nni-joint-ga[mcp]')"
_ABOUT = """Results of searches for how much to prune and at which bit-widths to quantize a network.
An experiment has trials (a uid each) with metrics: accuracy, size_kb, ram_kb, latency_ms and more.
Begin with `experiments`, look at a `front`, choose by `pick`, and `export` what was chosen.
Accuracies of trials are of validation data; only an export reads test data, so export once."""


def server(directory: Path | None = None) -> MCPServer[object]:
    """The server with its tools, not started yet.

    Args:
        directory: the ``experimentWorkingDirectory``; without, NNI's own, and an experiment may
            also be named by its folder.

    Raises:
        ImportError: the package mcp is not installed.
    """
    try:
        from mcp.server.mcpserver import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
    except ImportError as error:
        raise ImportError(_NOT_INSTALLED) from error

    def explained(tool: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(tool)
        def call(*args: object, **kwargs: object) -> object:
            try:
                return tool(*args, **kwargs)
            except MISTAKES as error:
                # Of any other error the agent would be told no more than that there was one.
                raise ToolError(error_text(error)) from error

        return call

    result: MCPServer[object] = MCPServer("joint-ga", instructions=_ABOUT, log_level="WARNING")
    tools = _Tools(directory)
    for tool in (tools.experiments, tools.front, tools.pick, tools.trial, tools.export):
        result.tool()(explained(tool))
    return result


class _Tools:
    """What agents can call; the docstrings are what they read."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def experiments(self) -> list[JsonObject]:
        """List the experiments: id, state, number of trials, hypervolume and objectives of each."""
        from nni_plugin.results.listing import list_experiments

        return [_plain(asdict(each)) for each in list_experiments(self._directory)]

    def front(self, experiment: str) -> JsonObject:
        """Show an experiment's Pareto front, with the knee and the best of each objective named.

        Args:
            experiment: its id.
        """
        from nni_plugin.results.experiment import Experiment
        from nni_plugin.results.front_rows import front_rows
        from nni_plugin.results.listing import summary

        opened = Experiment.open(experiment, self._directory)
        history = opened.history()
        return _plain(
            {
                **asdict(summary(opened)),
                "constraints": opened.log.constraints,
                "baseline": opened.log.baseline(),
                "front": front_rows(opened.log, history),
            }
        )

    def pick(self, experiment: str, sentence: str) -> JsonObject:
        """Choose one trial by a sentence of limits and one goal.

        Args:
            experiment: its id.
            sentence: such as "accuracy >= 0.90, ram_kb <= 64, min latency_ms".
        """
        from ga.evaluation import COMPLETE
        from nni_plugin.results.experiment import Experiment
        from nni_plugin.study.selection import Pick

        opened = Experiment.open(experiment, self._directory)
        return _shown(Pick.parse(sentence).choose(opened.log.finished(COMPLETE)))

    def trial(self, experiment: str, uid: int) -> JsonObject:
        """Show one trial: its state, metrics and chromosome (a gene for each layer).

        Args:
            experiment: its id.
            uid: the trial's number.
        """
        from nni_plugin.results.experiment import Experiment

        return _shown(Experiment.open(experiment, self._directory).trial(str(uid)))

    def export(self, experiment: str, uid: int, output: str) -> JsonObject:
        """Train a chosen trial to the end and write ONNX, C, PyTorch and a card. Takes minutes.

        This reads the test data, and runs the experiment's own task code.

        Args:
            experiment: its id.
            uid: the trial's number.
            output: a new folder.
        """
        command = [sys.executable, "-m", "nni_plugin.cli", "export", experiment]
        command += ["--trial", str(uid), "-o", output, "--json"]
        command += ["--dir", str(self._directory)] if self._directory else []
        # In a process of its own: stdout is the protocol's, and a task may print.
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        document: JsonObject = json.loads(done.stdout) if done.stdout else {}
        if done.returncode:
            raise RuntimeError(str(document.get("error") or done.stderr.strip()[-500:]))
        return document


def _plain(value: JsonObject) -> JsonObject:
    """With texts for paths, as JSON has none."""
    return {key: str(each) if isinstance(each, Path) else each for key, each in value.items()}


def _shown(trial: Trial) -> JsonObject:
    return {
        "uid": trial.uid,
        "trial": trial.job_id,
        "status": trial.status,
        "reason": trial.reason,
        "metrics": dict(trial.metrics),
        "params": dict(trial.params),
    }


def mcp(
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="The experimentWorkingDirectory, if not ~/nni-experiments."),
    ] = None,
) -> None:
    """Serve experiments, fronts, picks and exports to an agent, on stdin and stdout (MCP)."""
    from nni_plugin.results.experiment import known_folders

    known_folders(directory)
    server(directory).run("stdio")


def add_commands(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command(epilog="Example:  joint-ga mcp --dir ~/nni-experiments")(mcp)
