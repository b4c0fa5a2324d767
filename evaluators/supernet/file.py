"""A supernet by its file: read where it is whole, trained where it is missing or cut off."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from evaluators.cache import cache_dir, fingerprint, locked
from evaluators.progress import LINE_S
from evaluators.supernet.training import Progress, Settings, train_supernet
from evaluators.supernet.weights import FORMAT, DamagedError, Supernet, identity
from evaluators.task import Task
from hardware import Network

Say = Callable[[str], None]


def progress_lines(say: Say) -> Callable[[Progress], None]:
    """Says a line after the first and the last epoch, and every ten seconds between."""
    said = 0.0

    def report(now: Progress) -> None:
        nonlocal said
        if now.epoch in (1, now.epochs) or now.seconds - said >= LINE_S:
            said = now.seconds
            say(
                f"supernet: epoch {now.epoch} of {now.epochs}, loss {now.loss:.4f}, "
                f"{now.seconds:.0f} s"
            )

    return report


def partial_file(path: Path) -> Path:
    """Where the checkpoints of a training in progress lie."""
    return path.with_name(path.name + ".partial")


def cached_file(
    task: Task, space: Mapping[str, Sequence[object]], settings: Settings | None = None
) -> Path:
    """Where the supernet of a task, a space and a training lies in the cache.

    Another model, other data, another space or another training has another file. So one that is
    there is the right one.

    Raises:
        OSError: the cache's folder can't be made.
    """
    settings = settings or Settings()
    recipe = task.recipe
    parts: list[object] = [FORMAT, sorted(identity(task).items())]
    parts += [(gene, list(values)) for gene, values in space.items()]
    parts += [settings.epochs, settings.seed, settings.networks, settings.learning_rate]
    parts += [recipe.learning_rate, recipe.pruned_learning_rate, recipe.distillation]
    name = re.sub(r"[^\w.-]+", "-", task.name) or "task"
    return cache_dir() / f"supernet-{name}-{fingerprint(*parts)}.pt"


def load_or_train(
    path: Path,
    task: Task,
    network: Network,
    space: Mapping[str, Sequence[object]],
    settings: Settings | None = None,
    *,
    same_settings: bool = True,
    report: Callable[[Progress], None] | None = None,
    say: Say = lambda _: None,
    accelerator: str = "cpu",
) -> Supernet:
    """The supernet of a file. Of several processes one trains it, the others wait.

    Args:
        path: of the file. Beside it lie its lock and, during training, its checkpoint.
        task: its model and data must be those of the file.
        network: of the task's model.
        space: values by gene.
        settings: of the training.
        same_settings: whether a file of another space or training is an error.
        report: called after each epoch.
        say: told what is special.
        accelerator: torch's device.

    Raises:
        ValueError: the file is of another model, data or metric, or of other settings.
    """
    settings = settings or Settings()
    with locked(path, lambda: say(f"waiting for the process that trains {path}")):
        try:
            found = Supernet.load(path)
        except FileNotFoundError:
            found = None
        except DamagedError as error:
            say(f"{error}: it is trained anew")
            found = None
        if found is not None:
            found.check_task(task)
            if same_settings:
                _check_settings(found, space, settings)
            say(f"{path} is there already, trained for {found.facts['epochs']} epochs")
            return found
        made = train_supernet(
            task,
            network,
            space,
            settings,
            checkpoint=partial_file(path),
            report=report,
            say=say,
            accelerator=accelerator,
        )
        made.save(path)
        made.path = path
        partial_file(path).unlink(missing_ok=True)
        return made


def _check_settings(
    found: Supernet, space: Mapping[str, Sequence[object]], settings: Settings
) -> None:
    """Refuses to take a file for another than it is."""
    if found.space != {gene: list(values) for gene, values in space.items()}:
        genes = sorted(set(found.space) ^ set(space)) or sorted(
            gene for gene in space if list(space[gene]) != found.space[gene]
        )
        raise ValueError(
            f"{found.path} is of another search space (gene {genes[0]!r} differs): remove it, or "
            "write to another file"
        )
    for name in ("epochs", "seed", "networks"):
        if found.facts.get(name) != getattr(settings, name):
            raise ValueError(
                f"{found.path} was trained with {name}={found.facts.get(name)}, not "
                f"{getattr(settings, name)}: remove it, or write to another file"
            )
