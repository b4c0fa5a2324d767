"""What a config's trial command says of the task, for whoever tries it before the trials do."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import hardware
from evaluators.one_batch_process import Request
from evaluators.supernet.request import SupernetRequest
from nni_plugin.protocol import dispatcher
from nni_plugin.protocol.json_types import Settings
from nni_plugin.protocol.metrics import COSTS
from nni_plugin.setup.config_file import genes_of_config
from nni_plugin.setup.space_files import read_values
from nni_plugin.trial_supernet import SupernetChoice
from nni_plugin.user_paths import existing_file

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)


def trial_arguments(words: Sequence[str]) -> Namespace:
    """The arguments of ``nni_plugin.trial`` in a command.

    Raises:
        ValueError: they are wrong, in the words of its usage message.
    """
    from nni_plugin.trial import arguments

    usage = io.StringIO()
    try:
        with contextlib.redirect_stderr(usage):
            return arguments(words[words.index("nni_plugin.trial") + 1 :])
    except SystemExit:
        last = usage.getvalue().strip().splitlines()[-1:] or [" ".join(words)]
        raise ValueError(last[0]) from None


def assigned(words: Sequence[str]) -> dict[str, str]:
    """Variables that a command sets in front of its program, as in ``SIZE=3 python3 ...``."""
    found = itertools.takewhile(_ASSIGNMENT.fullmatch, words)
    return dict(word.split("=", 1) for word in found)


def task_request(
    trial: Namespace,
    class_args: Settings,
    code_folder: Path,
    folders: Sequence[Path],
    read_s: float,
    supernet: SupernetRequest | None = None,
) -> Request:
    """What is to be tried of a trial's task.

    Args:
        trial: the arguments of ``nni_plugin.trial``.
        class_args: the tuner's; what is wrong with them is another's matter.
        code_folder: where trials start.
        folders: where the relative paths of ``class_args`` may start from.
        read_s: see ``evaluators.one_batch.check_one_batch``.
        supernet: of :func:`supernet_request`.
    """
    costs = class_args.get("costs")
    named: list[tuple[object, Sequence[Path]]] = [(trial.network, [code_folder])]
    if isinstance(costs, Mapping):
        named.append((costs.get("network"), folders))
    networks = []
    for name, places in named:
        with contextlib.suppress(ValueError, OSError):
            if isinstance(name, str):
                file = dispatcher.find_file(name, places, "network")
                hardware.Network.load(file)
                networks.append(str(file))
    return Request(
        task=trial.task,
        data=trial.data,
        networks=tuple(dict.fromkeys(networks)),
        metrics=_own_metrics(class_args) if costs is None else (),
        read_s=read_s,
        supernet=supernet,
    )


def of_trial(text: str) -> str:
    """What the check of a task has said, behind the option that it is of."""
    return f"trialCommand: {'' if text.startswith('--') else '--task: '}{text}"


def supernet_request(
    trial: Namespace, code_folder: Path, config: Settings, folder: Path
) -> SupernetRequest | None:
    """What is to be looked at of the supernet that trials start from.

    Args:
        trial: the arguments of ``nni_plugin.trial``.
        code_folder: where trials start.
        config: NNI's settings. What is wrong with their search space is another check's matter.
        folder: of the config's file.

    Raises:
        ValueError: options that don't go together, or a space's file that can't be used.
        OSError: the file can't be read.
    """
    choice = SupernetChoice.of(trial, code_folder)
    if choice is None:
        return None
    genes: object = {}
    with contextlib.suppress(ValueError, OSError, TypeError):
        genes = genes_of_config(config, folder)
    values = {
        name: gene["_value"]
        for name, gene in (genes.items() if isinstance(genes, Mapping) else ())
        if isinstance(gene, Mapping) and isinstance(gene.get("_value"), list)
    }
    space = None
    if choice.space is not None:
        space = read_values(existing_file(choice.space, "--train-supernet", (".json",)))
    return SupernetRequest(
        None if choice.file is None else str(choice.file), space, choice.epochs, values
    )


def _own_metrics(class_args: Settings) -> tuple[str, ...]:
    """The metrics of objectives and constraints that only a task can report."""
    named: list[str] = []
    for key in ("objectives", "constraints"):
        names = class_args.get(key)
        named += [str(name) for name in names] if isinstance(names, Mapping) else []
    return tuple(name for name in dict.fromkeys(named) if name not in COSTS)
