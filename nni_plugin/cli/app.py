"""The ``joint-ga`` command.

Exit codes: 0 success; 1 an error that one line explains; 2 wrong usage; 3 the experiment ended in
an error; 4 ``doctor`` found a problem or ``check`` found a mistake; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from nni_plugin.cli import (
    agent_server,
    device,
    export,
    finish,
    model,
    results,
    run,
    sensitivity,
    setup,
    supernet,
    supernet_seeds,
)
from nni_plugin.cli.output import MISTAKES, begin, error_text, print_refusal, with_json

__all__ = ["app", "main"]

app = typer.Typer(
    name="joint-ga",
    help="Search per-layer pruning and bit-widths of a PyTorch model with NNI.",
    epilog="Start here:  joint-ga run experiment_configs/ga_joint.yml",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    run, results, export, finish, model, sensitivity, supernet, supernet_seeds, device, setup,
    agent_server,
):  # fmt: skip
    module.add_commands(app)
for command in app.registered_commands:
    assert command.callback is not None
    if command.callback is agent_server.mcp:
        # Its stdout is the protocol's, which is JSON already.
        continue
    command.callback = with_json(command.callback)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            print(f"joint-ga {version('nni-joint-ga')}")
        except PackageNotFoundError:
            print("joint-ga (not installed)")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options before the command."""


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """Runs a command; what is the input's fault becomes one line on stderr.

    ``JOINT_GA_TRACEBACK=1`` shows where an error comes from.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    # Ignored under `nohup`: a closed terminal is then no reason to stop.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _interrupt)
    # As `python -m` has it: what lies beside a task may be imported as late as in its metric.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    begin()
    try:
        app()
    except SystemExit as ended:
        print_refusal(sys.argv[1:], ended.code if isinstance(ended.code, int) else 0)
        raise
    except KeyboardInterrupt:
        print("joint-ga: stopped", file=sys.stderr)
        sys.exit(130)
    except MISTAKES as error:
        if os.environ.get("JOINT_GA_TRACEBACK"):
            raise
        print(f"joint-ga: error: {error_text(error)}", file=sys.stderr)
        sys.exit(1)
