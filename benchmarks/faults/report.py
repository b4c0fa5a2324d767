"""Prints the tables of the docs from the figures of the latest runs.

    python -m benchmarks.faults.report [FOLDER]

The folder (default: ``benchmarks/faults/results``) holds what the other commands wrote:
``long_run.json``, ``kills.json`` and ``resume.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.faults import kills, long_run, resume
from benchmarks.faults.books import Books

RESULTS = Path(__file__).with_name("results")


def _long_run(found: dict[str, Any]) -> str:
    machine = found.pop("machine")
    found["books"] = Books(**found["books"])
    for name in ("hypervolume", "undisturbed"):
        found[name] = {int(number): value for number, value in found[name].items()}
    return f"{long_run.show(long_run.Outcome(**found))}\n\n{_machine(machine)}"


def _kills(found: dict[str, Any]) -> str:
    outcomes = [kills.Outcome(**one) for one in found["outcomes"]]
    return f"{kills.show(outcomes)}\n\n{_machine(found['machine'])}"


def _machine(figures: dict[str, float]) -> str:
    return f"{figures['cpus']} CPUs, load at the end {figures['load']:g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=RESULTS)
    folder = parser.parse_args().folder
    for name, show in (("long_run", _long_run), ("kills", _kills), ("resume", resume.show)):
        file = folder / f"{name}.json"
        if file.exists():
            print(f"{name}\n\n{show(json.loads(file.read_text()))}\n")
        else:
            print(f"{name}: no {file}; python -m benchmarks.faults.{name} --output {file}\n")


if __name__ == "__main__":
    main()
