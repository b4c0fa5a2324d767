"""``joint-ga run`` and ``joint-ga resume`` on an engine that needs no server of NNI's."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nni_plugin.cli.run_end import conclude, leave, name_of

if TYPE_CHECKING:
    from rich.console import Console

    from nni_plugin.cli.progress import Outcome
    from nni_plugin.engines.run import Run
    from nni_plugin.results.engine_record import EngineRecord

__all__ = ["EngineOptions", "resume_on_engine", "run_on_engine"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class EngineOptions:
    """What the command line says of a run.

    Attributes:
        trials: in place of the config's ``maxTrialNumber``.
        concurrency: in place of ``trialConcurrency``.
        warm: whether trials start from a prepared process; None for the engine's own choice.
        address: of a cluster.
        port: of the live page; None for a free one.
        output: the report's folder.
    """

    trials: int | None = None
    concurrency: int | None = None
    warm: bool | None = None
    address: str | None = None
    port: int | None = None
    output: Path | None = None


def run_on_engine(console: Console, engine: str, config: Path, options: EngineOptions) -> None:
    """Runs a new experiment to its end.

    Raises:
        ValueError: the config asks for what only NNI has.
        EngineError: there is no such engine here.
    """
    from nni_plugin.engines.run import check_engine, new_folder
    from nni_plugin.engines.run_config import RunConfig
    from nni_plugin.results.engine_record import EngineRecord

    check_engine(engine)
    read = RunConfig.load(config).with_numbers(options.trials, options.concurrency)
    record = EngineRecord(engine, read.settings, options.warm, options.address)
    folder = new_folder(read.home)
    try:
        _run(console, folder, record, options)
    finally:
        _remove_if_empty(folder)


def resume_on_engine(
    console: Console, folder: Path, record: EngineRecord, options: EngineOptions, failures: int
) -> None:
    """Goes on with an experiment that another run has left.

    Args:
        console: where to.
        folder: the experiment's.
        record: as it was started.
        options: what is to be different.
        failures: number of trials that have failed so far.
    """
    from dataclasses import replace

    from nni_plugin.engines.run import check_engine
    from nni_plugin.engines.run_config import RunConfig

    check_engine(record.engine)
    read = RunConfig.of(record.config).with_numbers(options.trials, options.concurrency)
    record = replace(
        record,
        config=read.settings,
        warm=record.warm if options.warm is None else options.warm,
        address=options.address or record.address,
    )
    _run(console, folder, record, options, failures)


def _run(
    console: Console,
    folder: Path,
    record: EngineRecord,
    options: EngineOptions,
    failures: int = 0,
) -> None:
    from nni_plugin.engines.run import opened

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    with opened(folder, record, say) as run, _page(run, options.port) as page:
        name = name_of(folder)
        console.print(f"Experiment {name} is running ({record.engine}).", highlight=False)
        console.print(f"  Live Pareto page  {page}", highlight=False, soft_wrap=True)
        console.print(f"  Logs              {run.logs}", highlight=False, soft_wrap=True)
        console.print("Ctrl-C stops it.", highlight=False)
        outcome = _follow(console, run, failures)
    results = conclude(console, folder, options.output or Path("runs") / folder.name)
    leave(console, outcome.status, name, folder, "; ".join(outcome.errors), results)


def _follow(console: Console, run: Run, failures: int) -> Outcome:
    from nni_plugin.cli.progress import Outcome, follow_run

    def loop(step: Callable[[], None], say: Callable[[str], None]) -> Outcome:
        run.driver.say = say
        with _interrupts(run.driver.interrupt, say):
            ended = run.driver.run(step)
        return Outcome(ended.status, [str(ended.error)] if ended.error else [])

    return follow_run(run.folder, run.driver.budget.trials, console, failures, loop)


@contextlib.contextmanager
def _interrupts(interrupt: Callable[[], None], say: Callable[[str], None]) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or closed terminal ends the run in order, the second at once."""

    def ask(number: int, _frame: object) -> None:
        for signal_number in before:
            signal.signal(signal_number, signal.default_int_handler)
        interrupt()
        # The terminal may be the thing that is gone.
        with contextlib.suppress(OSError):
            say("Stopping the experiment ...")

    before = {n: signal.getsignal(n) for n in _SIGNALS if signal.getsignal(n) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _page(run: Run, port: int | None) -> Iterator[str]:
    """Serves the live page on this machine; yields its address."""
    from nni_plugin.results.page_server import serve_folder

    server = serve_folder(run.logs, port or 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/pareto.html"
    finally:
        server.shutdown()
        server.server_close()


def _remove_if_empty(folder: Path) -> None:
    """Takes a folder away in which no experiment has begun, such as one of a wrong address."""
    import shutil

    from nni_plugin.study.journal import read

    if not any(event["event"] == "ask" for event in read(folder / "checkpoint" / "journal.jsonl")):
        shutil.rmtree(folder, ignore_errors=True)
