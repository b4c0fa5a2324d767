"""The process of tuner and assessor: NNI's dispatcher, and what NNI told it at its start."""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from nni_plugin.protocol.json_types import Settings
from nni_plugin.protocol.suggestions import name_near


class Dispatcher(Protocol):
    """What an error needs of ``nni.runtime.msg_dispatcher.MsgDispatcher``."""

    def report_error(self, error: str) -> None:
        """Tells the manager, which ends the experiment with this message."""


def running_dispatcher() -> Dispatcher | None:
    """NNI's dispatcher of this process; None outside NNI.

    It is built after tuner and assessor and handed to neither. It is known by its worker threads,
    which run a method of it, so that whatever thread an error comes up in finds it.
    """
    from nni.runtime.msg_dispatcher_base import MsgDispatcherBase

    for thread in threading.enumerate():
        owner = getattr(getattr(thread, "_target", None), "__self__", None)
        if isinstance(owner, MsgDispatcherBase):
            found: Dispatcher = owner
            return found
    return None


def experiment_config(argv: Sequence[str] | None = None) -> Settings:
    """The experiment's configuration (camelCase, absolute paths), as NNI passes it to its tuner.

    Returns:
        An empty dict outside NNI's dispatcher.
    """
    argv = sys.argv if argv is None else argv
    if "--exp_params" not in argv[:-1]:
        return {}
    encoded = argv[argv.index("--exp_params") + 1]
    config: Settings = json.loads(base64.b64decode(encoded))
    return config


def log_folder() -> Path | None:
    """NNI's log folder, below the experiment's own one; None outside NNI's dispatcher."""
    logs = os.environ.get("NNI_LOG_DIRECTORY")
    return Path(logs) if logs else None


def folders(config: Settings) -> list[Path]:
    """Where a relative path of a config may start from, the likeliest first.

    A tuner's working directory is NNI's log folder and NNI doesn't pass on the config file's path.
    The search space file and ``codeDirectory`` stand beside it, as a rule; the trial code directory
    comes next. An experiment without NNI starts from the working directory.
    """
    found: list[Path] = []
    space = config.get("searchSpaceFile")
    if space:
        found.append(Path(space).parent)
    algorithms: Iterable[Settings | None] = (config.get("tuner"), config.get("assessor"))
    found += [Path(a["codeDirectory"]) for a in algorithms if a and a.get("codeDirectory")]
    if config.get("trialCodeDirectory"):
        found.append(Path(config["trialCodeDirectory"]))
    training = config.get("trainingService")
    if isinstance(training, Mapping) and training.get("trialCodeDirectory"):
        found.append(Path(training["trialCodeDirectory"]))
    if not config:
        found.append(Path.cwd())
    return list(dict.fromkeys(found))


def find_file(path: str | os.PathLike[str], folders: Iterable[Path], what: str) -> Path:
    """The file that ``path`` means, absolute.

    Raises:
        FileNotFoundError: it is in none of the folders; the message lists them, and names what is
            near it.
    """
    wanted = Path(path).expanduser()
    looked = [wanted] if wanted.is_absolute() else [folder / wanted for folder in folders]
    for candidate in looked:
        if candidate.is_file():
            return candidate.resolve()
    places = ", ".join(str(p.parent) for p in looked) or "no folder"
    near = next(filter(None, (name_near(candidate) for candidate in looked)), "")
    raise FileNotFoundError(
        f"{what} '{path}' was not found{near} (looked in {places}); "
        "give a path relative to the search space file, or an absolute one"
    )
