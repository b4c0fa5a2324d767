"""What can be known of a trial's supernet before any trial starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluators.one_batch import Findings
from evaluators.supernet.choices import Choices
from evaluators.supernet.file import cached_file, partial_file
from evaluators.supernet.request import SupernetRequest
from evaluators.supernet.training import Settings, check_trainable
from evaluators.supernet.weights import DamagedError, Supernet
from evaluators.task import Task
from hardware import Network


@dataclass
class SupernetFindings(Findings):
    """What was found, and whether the supernet is yet to be trained."""

    is_missing: bool = False


def check_supernet(task: Task, network: Network, request: SupernetRequest) -> SupernetFindings:
    """Looks at the file, or at what keeps it from being trained, and at the genes of the search.

    Args:
        task: of the trials.
        network: of its model.
        request: what the trial command and the config say.
    """
    found = SupernetFindings()
    try:
        _check(task, network, request, found)
    except (ValueError, OSError) as error:
        found.problems.append(str(error))
    problems, notes = ([f"--supernet: {x}" for x in xs] for xs in (found.problems, found.notes))
    return SupernetFindings(problems, notes, found.is_missing)


def _check(task: Task, network: Network, request: SupernetRequest, found: SupernetFindings) -> None:
    space, settings = request.space, Settings(epochs=request.epochs or Settings.epochs)
    if request.file is None:
        assert space is not None
        path = cached_file(task, space, settings)
    else:
        path = Path(request.file)
    supernet = None
    try:
        supernet = Supernet.load(path)
    except FileNotFoundError:
        if space is None:
            raise ValueError(
                f"{path}: there is no such file; train it with `joint-ga supernet`, or "
                "let the first trial do it with --train-supernet SPACE"
            ) from None
    except DamagedError as error:
        if space is None:
            raise
        found.notes.append(f"{error}: it is trained anew")
    if supernet is not None:
        supernet.check_task(task)
        _check_genes(supernet.choices, network, request.genes, str(path))
        return
    assert space is not None
    _check_genes(Choices.of(space), network, request.genes, "the --train-supernet space")
    check_trainable(task, network, space, settings)
    going_on = f", from {partial_file(path)} on" if partial_file(path).exists() else ""
    found.is_missing = True
    found.notes.append(
        f"a supernet is trained first, for {settings.epochs} epochs{going_on}; it is kept in {path}"
    )


def _check_genes(
    choices: Choices, network: Network, genes: Mapping[str, Sequence[object]], where: str
) -> None:
    """Raises a `ValueError` for the first value of the search that was not trained for."""
    for gene, values in genes.items():
        for value in values:
            choices.check(network, {gene: value}, where)
