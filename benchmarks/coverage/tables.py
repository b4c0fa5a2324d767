"""What the sweep found, as Markdown and as CSV."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.coverage.stages import STAGES
from benchmarks.coverage.zoo import Entry

Records = Mapping[str, Mapping[str, Any]]
Found = Mapping[Entry, Records]

FAULTS = ("wrong", "refused", "crash", "timeout", "memory", "died")
"""Outcomes of a stage that did not go right. `skipped` follows from one of them."""

_FIGURES = {
    "trace": ("layers", "groups", "prunable", "gene_share", "cpu_s", "peak_mb"),
    "price": ("genes", "numbers", "needed", "macs", "counted", "space_s", "peak_mb"),
    "prune": ("removed", "gap", "effect", "cpu_s"),
    "trial": ("cpu_s",),
    "onnx": ("cpu_s",),
    "rival": ("removed", "cpu_s"),
}


def _rows(found: Found, stage: str) -> dict[Entry, Mapping[str, Any]]:
    return {entry: records[stage] for entry, records in found.items() if stage in records}


def markdown(found: Found) -> str:
    """Stages and packages, the comparison with the rival, and a row for each failure."""
    parts = [_summary(found), _rival(found), _failures(found)]
    return "\n\n".join(part for part in parts if part)


def _summary(found: Found) -> str:
    groups: dict[str, dict[Entry, Records]] = defaultdict(dict)
    for entry, records in found.items():
        groups[entry.package][entry] = records
    head = ["package", "networks", "traced", "priced", "pruned = masked", "trial", "ONNX"]
    lines = [_line(head), _line(["---"] * len(head))]
    for package, members in [*groups.items(), ("**all**", dict(found))]:
        counts = [_count(members, s) for s in ("trace", "price", "prune", "trial", "onnx")]
        lines.append(_line([package, str(len(members)), *counts]))
    return "\n".join(lines)


def _count(found: Found, stage: str) -> str:
    """Networks that went right, of those that reached the stage or should have."""
    rows = _rows(found, stage)
    if stage == "prune":
        # Only what is offered as a gene can be pruned wrongly.
        rows = {e: r for e, r in rows.items() if r.get("groups") != 0 and r["outcome"] != "skipped"}
    right = sum(r["outcome"] == "right" for r in rows.values())
    return f"{right} of {len(rows)}"


def compared(found: Found) -> dict[Entry, tuple[float, float]]:
    """Fraction of parameters removed, ours and the rival's, of networks that both take."""
    both = {}
    for entry, records in found.items():
        ours, theirs = records.get("prune", {}), records.get("rival", {})
        if theirs.get("outcome") == "right" and ours.get("outcome") in ("right", "wrong"):
            both[entry] = (float(ours.get("removed", 0.0)), float(theirs["removed"]))
    return both


def _rival(found: Found) -> str:
    both = compared(found)
    if not both:
        return ""
    more = sum(ours >= theirs - 0.005 for ours, theirs in both.values())
    theirs = _rows(found, "rival")
    took = sum(r["outcome"] == "right" for r in theirs.values())
    right = sum(r["outcome"] == "right" for r in _rows(found, "prune").values())
    lines = [
        "| | |",
        "|---|---|",
        f"| Torch-Pruning prunes | {took} of {len(theirs)} |",
        f"| this project prunes | {right} of {len(_rows(found, 'prune'))} |",
        f"| both | {len(both)} |",
        f"| this project removes as much or more | {more} of {len(both)} |",
    ]
    less = {e: pair for e, pair in both.items() if pair[0] < pair[1] - 0.005}
    if less:
        lines += ["", _line(["removes less", "this project", "Torch-Pruning"]), "|---|---|---|"]
        for entry, (ours, other) in sorted(less.items(), key=lambda x: x[0].name):
            lines.append(_line([entry.name, f"{ours:.3f}", f"{other:.3f}"]))
    return "\n".join(lines)


def _failures(found: Found) -> str:
    lines = []
    for entry, records in found.items():
        for stage in ("build", *STAGES):
            record = records.get(stage, {"outcome": ""})
            if stage != "rival" and record["outcome"] in FAULTS:
                message = str(record.get("message", ""))[:160].replace("|", "\\|")
                lines.append(_line([entry.name, stage, str(record["outcome"]), message]))
    if not lines:
        return ""
    head = ["network", "stage", "outcome", "message"]
    return "\n".join([_line(head), _line(["---"] * 4), *lines])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_csv(path: Path, found: Found) -> None:
    """A row for each network: outcome and figures of each stage."""
    head = ["network", "family", "parameters"]
    for stage, names in _FIGURES.items():
        head += [stage, *(f"{stage}_{name}" for name in names)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        for entry, records in found.items():
            row: list[object] = [entry.name, entry.family, entry.parameters]
            for stage, names in _FIGURES.items():
                record = records.get(stage, {})
                row += [record.get("outcome", ""), *(_short(record.get(n, "")) for n in names)]
            writer.writerow(row)


def _short(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, float) else value


def grouped(found: Found) -> dict[str, list[tuple[Entry, str]]]:
    """Networks that fail, with the stage, by cause; most hit first."""
    causes: dict[str, list[tuple[Entry, str]]] = defaultdict(list)
    for entry, records in found.items():
        for stage, record in records.items():
            if stage != "rival" and record["outcome"] in FAULTS:
                causes[_cause(record)].append((entry, stage))
    return dict(sorted(causes.items(), key=lambda item: -len(item[1])))


def _cause(record: Mapping[str, Any]) -> str:
    """Outcome, place and message without names and numbers."""
    message = re.sub(r"\([^()]*\)", "()", str(record.get("message", "")))
    message = re.sub(r"(?<!\w)'[^']*'", "'..'", message)
    message = re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?%?", "N", message)
    message = re.sub(r"\bgot \w+", "got ..", message)
    where = str(record.get("place", "")).split(" <- ")[0]
    return f"{record['outcome']}: {message[:140]} [{where}]"


def causes(found: Found, command: str) -> str:
    """A list of what fails, by cause, with the command that shows it again."""
    parts = []
    for i, (cause, hits) in enumerate(grouped(found).items(), 1):
        entry, stage = hits[0]
        record = found[entry][stage]
        names = ", ".join(f"{e.name} ({s})" for e, s in hits[:12])
        more = f" and {len(hits) - 12} more" if len(hits) > 12 else ""
        parts.append(
            f"## {i}. {len(hits)}x {cause}\n\n"
            f"{names}{more}\n\n"
            f"Of {entry.name}: {record.get('message', '')} [{record.get('place', '')}]\n\n"
            f"    {command} --only '{entry.name}' --stage {stage} --again"
        )
    return "\n\n".join(parts)
