"""Options that commands of several files have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TimeLimit = Annotated[
    float,
    typer.Option(
        min=1.0, help="Seconds for each step of trying the task; its build may take ten times that."
    ),
]
Name = Annotated[str, typer.Argument(help="Experiment id, or its folder.", metavar="EXPERIMENT")]
Directory = Annotated[
    Path | None,
    typer.Option("--dir", help="The experimentWorkingDirectory, if not ~/nni-experiments."),
]
