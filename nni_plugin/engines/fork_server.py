"""Trials that are forked from a process with their imports, their task and their data.

A fork is a copy of a process that has run no trial yet. So each trial begins as a fresh process
would after its imports, and what one trial does to its process no other sees.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import shlex
import shutil
import signal
import sys
import tempfile
import traceback
import weakref
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from nni_plugin.engines.trial_files import stderr_of, stdout_of

if TYPE_CHECKING:
    from evaluators import Task
    from hardware import Network
    from nni_plugin.trial import Prepared

__all__ = ["ForkServer", "PythonCommand", "python_command"]

_SHELL = frozenset("|&;<>()`$\n*?[]{}~!#")
"""What a shell would make something of: a command with one of these runs in a shell."""

_OWN_TRIAL = "nni_plugin.trial"
_LEARNED = "modules.json"


@dataclass(frozen=True)
class PythonCommand:
    """A trial's command that is a Python program and nothing else.

    Attributes:
        environment: variables that it sets in front.
        module: of ``python -m MODULE``; empty for a script.
        script: of ``python FILE.py``.
        arguments: what follows.
    """

    environment: dict[str, str]
    module: str
    script: str
    arguments: tuple[str, ...]

    @property
    def is_own(self) -> bool:
        """Whether it is ``nni_plugin.trial``."""
        return self.module == _OWN_TRIAL

    def trial(self) -> Namespace:
        """The arguments of ``nni_plugin.trial``.

        Raises:
            ValueError: they are wrong.
        """
        from nni_plugin.setup.trial_request import trial_arguments

        return trial_arguments([_OWN_TRIAL, *self.arguments])


def python_command(command: str) -> PythonCommand | str:
    """A trial's command, or why it needs a process of its own.

    Args:
        command: as in a config.
    """
    # Imported here: where nothing is to be forked, this process stays a small one.
    from nni_plugin.setup.trial_request import assigned

    try:
        words = shlex.split(os.path.expandvars(command))
    except ValueError as error:
        return f"the command can't be read ({error})"
    if any(_SHELL & set(word) for word in words):
        return "the command needs a shell"
    environment = assigned(words)
    program, *rest = words[len(environment) :] or [""]
    if not _is_this_python(program):
        return f"the command's program {program!r} is not this Python ({sys.executable})"
    if rest[:1] == ["-u"]:
        rest = rest[1:]
    if len(rest) > 1 and rest[0] == "-m":
        return PythonCommand(environment, rest[1], "", tuple(rest[2:]))
    if rest and not rest[0].startswith("-"):
        return PythonCommand(environment, "", rest[0], tuple(rest[1:]))
    return "the command gives Python options of its own"


def _is_this_python(program: str) -> bool:
    found, own = shutil.which(program), Path(sys.executable)
    if found is None:
        return False
    # A venv's Python is a link: its folder is what makes it the venv's.
    same_folder = Path(found).parent.resolve() == own.parent.resolve()
    return same_folder and Path(found).resolve() == own.resolve()


@dataclass
class ForkServer:
    """Has ready what trials of one command share, and forks them.

    Args:
        command: of the trials.
        code: the folder that they start in; this process's working directory and in its path.
        own_files: descriptors of this process that are none of a trial's business.
    """

    command: PythonCommand
    code: Path
    own_files: Sequence[int] = ()
    _program: Callable[[], int | None] = field(init=False)
    _is_learning: bool = True

    def prepare(self) -> str | None:
        """Imports and builds; returns why nothing can be forked from here, None if it can.

        What is wrong with a task is said by its trials.
        """
        os.environ.update(self.command.environment)
        if not self.command.is_own:
            self._program = self._foreign
            return None
        reason = self._prepare_own()
        _keep_for_good()
        return reason

    def _prepare_own(self) -> str | None:
        from nni_plugin import trial

        before = _open_files()
        # What is not ours may raise anything.
        try:
            prepared = trial.prepare(self.command.trial())
        except Exception as error:
            return f"the task can't be built ahead ({type(error).__name__}: {error})"
        reason = _why_not_to_share(before)
        if reason is None:
            prepared = _ready(prepared)
            reason = _why_not_to_share(before)
        self._program = lambda: trial.main(list(self.command.arguments), prepared)
        return reason

    def fork(self, folder: Path, environment: Mapping[str, str]) -> int:
        """Starts a trial; returns its process id.

        Args:
            folder: of the trial.
            environment: variables of the trial's own.
        """
        holders = _holders_of_variables()
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                status = self._child(folder, environment, holders)
            finally:
                os._exit(status)
        return pid

    def _child(
        self, folder: Path, environment: Mapping[str, str], holders: Sequence[ModuleType]
    ) -> int:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        for number, path in ((1, stdout_of(folder)), (2, stderr_of(folder))):
            os.dup2(os.open(path, flags, 0o600), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in self.own_files:
            os.close(number)
        os.environ.update(environment)
        # What was made before the fork is not this process's to tidy up, such as a temporary folder
        # of the task. Torch alone leaves hundreds of such duties.
        weakref.finalize._registry = {}  # type: ignore[attr-defined]  # nothing public forgets them
        _vary_numpy()
        _renew_nni(holders)
        before = set(sys.modules) if self._is_learning else set()
        status = _exit_status(self._program)
        if self._is_learning and not status:
            self._write_down(folder, before)
        with contextlib.suppress(OSError, ValueError):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        return status

    def _foreign(self) -> int | None:
        """Any other Python program, as ``python`` itself starts it."""
        command = self.command
        sys.argv = [command.script or command.module, *command.arguments]
        if command.module:
            sys.path.insert(0, str(self.code))
            runpy.run_module(command.module, run_name="__main__", alter_sys=True)
        else:
            script = self.code / command.script
            sys.argv[0] = command.script
            sys.path.insert(0, str(script.parent))
            runpy.run_path(str(script), run_name="__main__")
        return 0

    def _write_down(self, folder: Path, before: set[str]) -> None:
        """What a trial imported by itself: later ones find it imported."""
        found = [
            name
            for name, module in list(sys.modules.items())
            if name not in before and _is_installed(module, self.code)
        ]
        with contextlib.suppress(OSError):
            (folder / ".nni" / _LEARNED).write_text(json.dumps(found))

    def learn(self, folder: Path) -> None:
        """Imports what a trial that has ended in order imported; the first one's is enough."""
        path = folder / ".nni" / _LEARNED
        if not self._is_learning or not path.is_file():
            return
        self._is_learning = False
        names: Sequence[str] = json.loads(path.read_text())
        path.unlink()
        if "nni" in names:
            from evaluators.nni_imports import import_nni

            import_nni()
        for name in names:
            # A module may refuse to be imported in another order, as it likes.
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        _keep_for_good()


def _why_not_to_share(open_before: set[str]) -> str | None:
    """Why trials that are forked from here would disturb each other; None if they would not."""
    from evaluators.process_state import why_not_to_fork

    held = sorted(_open_files() - open_before)
    if held:
        # Two trials that read it would move each other's place in it.
        return f"the task keeps {held[0]} open"
    return why_not_to_fork()


def _ready(prepared: Prepared) -> Prepared:
    """With the network that each trial would trace anew, and with what each would import.

    What can't be had is left to the trials: they say why.
    """
    from evaluators.nni_imports import nni_pruning, nni_quantization

    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module("evaluators.pipeline")
        nni_pruning()
        nni_quantization()
    if prepared.network is not None:
        return prepared
    return replace(prepared, network=_traced(prepared.task))


def _traced(task: Task) -> Network | None:
    """The network of a task's model, traced in a process of its own; None if it can't be.

    To trace, torch looks for a GPU, and CUDA does not outlive a fork: if it looked here, no trial
    that is forked could use one.
    """
    from evaluators.process_state import process_as_found
    from evaluators.tracing.trace import trace
    from hardware import Network

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.json"
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                with process_as_found(threads=1):
                    trace(task).save(file)
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        return Network.load(file) if status == 0 else None


def _is_installed(module: ModuleType, code: Path) -> bool:
    """Whether it is not of the trial's own folder, whose files may change between trials."""
    spec = getattr(module, "__spec__", None)
    if spec is None or module.__name__ == "__main__":
        return False
    origin = spec.origin or ""
    inside = Path(origin).is_absolute() and Path(origin).is_relative_to(code)
    return not inside or "site-packages" in origin


def _keep_for_good() -> None:
    """Takes all that is there out of the garbage collector's view.

    Else the first collection in a child writes to, and so copies, every page of objects.
    """
    gc.collect()
    gc.freeze()


def _vary_numpy() -> None:
    """Gives a forked process a random state of numpy of its own, as a fresh process has one.

    Python sees to its own; torch begins every process with the same state.
    """
    if "numpy.random" in sys.modules:
        # Imported here: a process that forks scripts without numpy stays a small one.
        import numpy as np

        np.random.seed(None)


def _open_files() -> set[str]:
    """The regular files that this process has open; none where the system doesn't tell."""
    found = set()
    for link in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):
            path = link.readlink()
            if path.is_file():
                found.add(str(path))
    return found


def _exit_status(program: Callable[[], int | None]) -> int:
    """The exit status that the program would give a process of its own."""
    try:
        return program() or 0
    except SystemExit as left:
        if left.code is None or isinstance(left.code, int):
            return left.code or 0
        print(left.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    # Whatever a program dies of, Python prints it and exits with 1.
    except BaseException:
        traceback.print_exc()
        return 1


def _holders_of_variables() -> list[ModuleType]:
    """The modules of NNI's package that have read a trial's variables.

    Found before the fork: a look at each module in the child copies as many pages of memory.
    """
    if "nni.runtime.env_vars" not in sys.modules:
        return []
    from nni.runtime import env_vars

    known = env_vars.trial_env_vars
    return [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("nni.") and vars(module).get("trial_env_vars") is known
    ]


def _renew_nni(holders: Sequence[ModuleType]) -> None:
    """Lets NNI's package, if it was imported before the fork, read the trial's variables again."""
    if not holders:
        return
    from nni.runtime import env_vars

    new = env_vars._load_env_vars(env_vars._trial_env_var_names)
    for module in holders:
        vars(module)["trial_env_vars"] = new
    trial = sys.modules.get("nni.trial")
    if trial is not None:
        number = new.NNI_TRIAL_SEQ_ID
        vars(trial).update(
            _experiment_id=new.NNI_EXP_ID,
            _trial_id=new.NNI_TRIAL_JOB_ID,
            _sequence_id=int(number or 0),
        )
