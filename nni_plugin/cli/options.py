"""Options that commands of several files have."""

from __future__ import annotations

from typing import Annotated

import typer

TimeLimit = Annotated[
    float,
    typer.Option(
        min=1.0, help="Seconds for each step of trying the task; its build may take ten times that."
    ),
]
