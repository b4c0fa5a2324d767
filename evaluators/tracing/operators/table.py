"""The register of operators as the table of the reference: ``python -m ...operators.table``."""

from __future__ import annotations

from evaluators.tracing.operators.registry import UNKNOWN, Operator, operators

_HEAD = ("Operators", "Channels", "Cost", "In integers", "Not in ONNX")


def table() -> str:
    """Returns the register in Markdown, a row for each entry, the fallback last."""
    rows = [_HEAD, ("---",) * len(_HEAD), *map(_row, operators()), _row(UNKNOWN)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(operator: Operator) -> tuple[str, ...]:
    return (
        ", ".join(f"`{kind}`" for kind in operator.kinds) or "all others",
        operator.channels.__name__.replace("_", " "),
        operator.cost,
        _some(operator, operator.in_integers),
        _some(operator, operator.not_in_onnx),
    )


def _some(operator: Operator, kinds: tuple[str, ...]) -> str:
    if kinds and kinds == operator.kinds:
        return "all"
    return ", ".join(f"`{kind}`" for kind in kinds) or "-"


if __name__ == "__main__":
    print(table())
