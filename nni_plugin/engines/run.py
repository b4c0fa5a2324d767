"""A run of an experiment on an engine: its folder, its page, its driver."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from nni_plugin.engines.driver import Driver
from nni_plugin.engines.engine import Engine, EngineError, trials_folder
from nni_plugin.engines.run_config import RunConfig
from nni_plugin.engines.server_engine import ServerEngine
from nni_plugin.engines.trial_server import ServerSettings
from nni_plugin.protocol.log import logger
from nni_plugin.results.engine_record import EngineRecord
from nni_plugin.results.live_page import LivePage
from nni_plugin.study.early_stopping import FILE_NAME as RUNGS
from nni_plugin.study.early_stopping import EarlyStopping
from nni_plugin.study.journal import FILE_NAME as JOURNAL
from nni_plugin.study.study import Study

__all__ = ["ENGINES", "Run", "build_engine", "check_engine", "new_folder", "opened"]

ENGINES = ("local", "ray")
"""Those beside NNI that a command can name."""

_PRIVATE = 0o700
_LETTERS = string.ascii_lowercase + string.digits


@dataclass
class Run:
    """One run, from its start or resume to its end.

    Attributes:
        folder: the experiment's, laid out as NNI does.
        driver: not started yet.
        page: what is shown of it, in the folder ``log``.
    """

    folder: Path
    driver: Driver
    page: LivePage

    @property
    def logs(self) -> Path:
        """The folder of logs and of the page."""
        return self.folder / "log"


def new_folder(home: Path) -> Path:
    """A folder of its own for a new experiment, private to the user.

    Raises:
        OSError: it can't be made.
    """
    home.mkdir(parents=True, exist_ok=True)
    while True:
        # The seed of a search must not name its experiment.
        name = "".join(random.SystemRandom().choices(_LETTERS, k=8))
        with contextlib.suppress(FileExistsError):
            (home / name).mkdir(_PRIVATE)
            break
    for part in ("log", "checkpoint"):
        (home / name / part).mkdir()
    return home / name


def check_engine(name: str) -> None:
    """Raises what stands in an engine's way, before anything is made.

    Raises:
        ValueError: there is no engine of that name.
        EngineError: it is not installed; the message names the extra.
    """
    if name not in ENGINES:
        raise ValueError(f"engine {name!r} (allowed: nni, {', '.join(ENGINES)})")
    if name == "ray" and importlib.util.find_spec("ray") is None:
        raise EngineError(
            "the engine 'ray' needs Ray: pip install 'nni-joint-ga[ray]', here and on every "
            "machine of the cluster"
        )


def build_engine(record: EngineRecord, config: RunConfig, folder: Path) -> Engine:
    """The engine that a record names, with nothing running yet.

    Raises:
        EngineError: it can't be reached.
        ValueError: it does not have what the config asks for.
    """
    trials = trials_folder(folder)
    settings = ServerSettings(
        folder.name, str(trials), config.command, str(config.code), record.warm
    )
    if record.engine == "local":
        if config.gpus:
            raise ValueError(
                f"trialGpuNumber={config.gpus:g} needs --engine nni or ray: local trials see "
                "every GPU of the machine"
            )
        module = "nni_plugin.engines.trial_server"
        log = folder / "log" / "engine.log"
        return ServerEngine("local", module, asdict(settings), trials, log)
    from nni_plugin.engines.ray_engine import ray_engine

    return ray_engine(settings, record.address, config.concurrency, config.gpus, folder)


@contextlib.contextmanager
def opened(folder: Path, record: EngineRecord, say: Callable[[str], None]) -> Iterator[Run]:
    """A run in an experiment's folder, new or not; all is closed afterwards.

    Args:
        folder: the experiment's.
        record: written into the folder.
        say: told what a user should know, a sentence at a time.

    Raises:
        ValueError: the search can't be made, or is not that of the folder's journal.
        EngineError: there is no such engine here.
        JournalInUseError: the experiment is running.
    """
    config = RunConfig.of(record.config)
    journal = folder / "checkpoint" / JOURNAL
    with contextlib.ExitStack() as stack:
        stack.enter_context(_logged(folder / "log" / "dispatcher.log"))
        study = Study(config.tuner_args(), config.space, journal, config.class_args)
        stack.callback(study.close)
        record.write(folder)
        stopping = None
        if config.assessor is not None:
            stopping = EarlyStopping(config.assessor, folder / "checkpoint" / RUNGS)
            stack.callback(stopping.close)
        page = LivePage(folder / "log", journal)
        stack.callback(page.close)
        engine = build_engine(record, config, folder)
        stack.callback(engine.close)
        driver = Driver(
            study,
            engine,
            folder,
            config.concurrency,
            config.budget,
            stopping,
            config.settings,
            page.update,
            say,
        )
        page.update()
        yield Run(folder, driver, page)


@contextlib.contextmanager
def _logged(file: Path) -> Iterator[None]:
    """What the search notes goes to a file, under the name that NNI gives it, and nowhere else."""
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)s %(message)s"))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
        logger.setLevel(level)
        logger.propagate = propagate
