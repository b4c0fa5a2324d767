"""What a trial's command says of a supernet: its file, or the space that it is trained for."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nni_plugin.setup.space_files import network_file, read_values
from nni_plugin.user_paths import existing_file

if TYPE_CHECKING:
    from evaluators import Task
    from evaluators.supernet.training import Settings
    from evaluators.supernet.weights import Supernet
    from hardware import Network

__all__ = ["SupernetChoice"]


@dataclass(frozen=True)
class SupernetChoice:
    """The options ``--supernet``, ``--train-supernet`` and ``--supernet-epochs`` of a trial.

    Attributes:
        file: the supernet's; None: in the cache, by what it is of.
        space: search space that it is trained for where it is missing; None: an error then.
        epochs: of that training; None: as many as ``joint-ga supernet`` takes.
    """

    file: Path | None
    space: Path | None = None
    epochs: int | None = None

    @classmethod
    def of(cls, args: Namespace, folder: Path | None = None) -> SupernetChoice | None:
        """What the arguments of ``nni_plugin.trial`` say; None: no supernet.

        Args:
            args: of ``nni_plugin.trial.arguments``.
            folder: where the trials start; paths are taken from there. None: here.

        Raises:
            ValueError: options that don't go together, or a number below 1.
        """
        if args.train_supernet is None and args.supernet_epochs is not None:
            raise ValueError(
                f"--supernet-epochs {args.supernet_epochs} is of the training that "
                "--train-supernet SPACE asks for: give both"
            )
        if args.supernet_epochs is not None and args.supernet_epochs < 1:
            raise ValueError(f"--supernet-epochs {args.supernet_epochs} must be at least 1")
        if args.supernet is None and args.train_supernet is None:
            return None

        def place(name: str | None) -> Path | None:
            return None if name is None else (folder or Path()) / name

        return cls(place(args.supernet), place(args.train_supernet), args.supernet_epochs)

    def check_file(self) -> None:
        """Reads a file that nothing would train, before a task is built.

        Raises:
            ValueError: it is no supernet's, or cut off.
            OSError: it can't be read.
        """
        from evaluators.supernet.weights import Supernet

        if self.file is not None and self.space is None:
            Supernet.load(existing_file(self.file, "--supernet", ()))

    def settings(self) -> Settings:
        """How it is trained, if it is."""
        from evaluators.supernet.training import Settings

        return Settings() if self.epochs is None else Settings(epochs=self.epochs)

    def path(self, task: Task) -> Path:
        """The supernet's file, whether it is there or not.

        Raises:
            ValueError: the space's file can't be used.
            OSError: it can't be read, or the cache's folder can't be made.
        """
        if self.file is not None:
            return self.file
        from evaluators.supernet.file import cached_file

        assert self.space is not None
        return cached_file(task, read_values(self.space), self.settings())

    def ready(
        self,
        task: Task,
        network: Network | None,
        say: Callable[[str], None] = lambda _: None,
        accelerator: str = "cpu",
    ) -> Supernet:
        """The supernet, trained first if that is asked for and nobody has done so.

        Args:
            task: of the trial.
            network: of its model; read from beside the space, or traced, if None.
            say: told of the training, a line at a time.
            accelerator: torch's device.

        Raises:
            ValueError: there is no file and none is to be trained, or it is of something else.
            OSError: a file can't be read or written.
        """
        from evaluators.supernet.file import load_or_train, progress_lines
        from evaluators.supernet.weights import Supernet

        if self.space is None:
            path = self.path(task)
            try:
                return Supernet.load(path)
            except FileNotFoundError:
                raise ValueError(
                    f"--supernet {path}: there is no such file; train it with `joint-ga "
                    "supernet`, or let the first trial do it with --train-supernet SPACE"
                ) from None
        from evaluators import trace

        if network is None and network_file(self.space).is_file():
            import hardware

            network = hardware.Network.load(network_file(self.space))
        path, settings = self.path(task), self.settings()
        if not path.exists():
            say(f"{path} is not there yet: it is trained once, for {settings.epochs} epochs")
        return load_or_train(
            path,
            task,
            network if network is not None else trace(task),
            read_values(self.space),
            settings,
            same_settings=False,
            report=progress_lines(say),
            say=say,
            accelerator=accelerator,
        )
