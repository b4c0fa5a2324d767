"""What a command gives: text for people, or with ``--json`` one document for programs.

Each command has the option, and nothing but the document goes to stdout then. What is else said on
the way goes to stderr, as it is said. The fields of every document, and what a command adds, are in
docs/guide/agents.md; a change of them raises `FORMAT`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TextIO, get_type_hints

import typer

from evaluators.nni_imports import missing_nni
from nni_plugin.protocol.suggestions import file_near

__all__ = [
    "FORMAT",
    "MISTAKES",
    "add_result",
    "add_table",
    "begin",
    "error_text",
    "print_refusal",
    "with_json",
]

FORMAT = 1
MISTAKES = (ValueError, OSError, RuntimeError, ImportError)
"""Errors that one line explains."""
_ERROR = "joint-ga: error: "


@dataclass
class _Document:
    """What a command has given so far."""

    fields: dict[str, object] = field(default_factory=dict)
    tables: list[dict[str, object]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def error(self) -> str:
        """The error among what was said; else the last that was said."""
        told = [line.removeprefix(_ERROR) for line in self.said if line.startswith(_ERROR)]
        return (told or self.said or [""])[-1]


_current: _Document | None = None
_printed = False
"""Whether the process has printed a document."""


def add_result(**fields: object) -> None:
    """Adds fields to the command's document; without ``--json`` nothing comes of it.

    Args:
        fields: what JSON can hold, and paths. Of a field given twice the later one stands.
    """
    if _current is not None:
        _current.fields.update(fields)


def add_table(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Adds the rows of a table that is printed, in full precision; see `add_result`."""
    if _current is not None:
        shown = [{str(key): value for key, value in row.items()} for row in rows]
        _current.tables.append({"title": title, "rows": shown})


def error_text(error: Exception) -> str:
    """What was wrong, in one line."""
    if isinstance(error, ModuleNotFoundError) and error.name == "nni":
        return missing_nni()
    if isinstance(error, OSError) and error.filename and error.strerror:
        if isinstance(error, FileNotFoundError):
            return f"{error.filename}: no such file or folder{file_near(Path(error.filename))}"
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def with_json(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the option ``--json``, for `typer.Typer.command`."""

    @functools.wraps(command)
    def either(*args: object, as_json: bool = False, **kwargs: object) -> None:
        if not as_json:
            return command(*args, **kwargs)
        return _as_document(command.__name__, lambda: command(*args, **kwargs))

    hint = Annotated[
        bool, typer.Option("--json", help="Print one JSON document; what is said goes to stderr.")
    ]
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    own = [p.replace(annotation=hints[name]) for name, p in signature.parameters.items()]
    option = inspect.Parameter(
        "as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=hint
    )
    either.__signature__ = signature.replace(parameters=[*own, option])  # type: ignore[attr-defined]  # inspect.signature looks for it
    either.__annotations__ = {**hints, "as_json": hint}
    return either


class _Said(io.TextIOBase):
    """A stream that notes lines and passes them on."""

    def __init__(self, lines: list[str], stream: TextIO) -> None:
        self._lines = lines
        self._stream = stream
        self._rest = ""

    def write(self, text: str) -> int:
        self._stream.write(text)
        *lines, self._rest = (self._rest + text).split("\n")
        self._lines += [line for line in lines if line.strip()]
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def _as_document(name: str, run: Callable[[], None]) -> None:
    """Runs a command and prints its document, whatever ends it; that is raised on.

    A usage error that only the command itself can tell (exit code 2) is one of those.
    """
    document = _Document()
    try:
        with _taken(document):
            run()
    except typer.Exit as ended:
        _print(name, document, ended.exit_code, document.error() if ended.exit_code else None)
        raise
    except typer.BadParameter as error:
        _print(name, document, 2, error.message)
        raise
    except KeyboardInterrupt:
        _print(name, document, 130, "stopped")
        raise
    except MISTAKES as error:
        _print(name, document, 1, error_text(error))
        raise
    _print(name, document, 0, None)


@contextlib.contextmanager
def _taken(document: _Document) -> Iterator[None]:
    global _current
    stream = sys.stderr
    with (
        contextlib.redirect_stdout(_Said(document.said, stream)),
        contextlib.redirect_stderr(_Said(document.said, stream)),
    ):
        _current = document
        try:
            yield
        finally:
            _current = None


def _print(name: str, document: _Document, exit_code: int, error: str | None) -> None:
    global _printed
    _printed = True
    everything = {
        "format": FORMAT,
        "command": name,
        "exit_code": exit_code,
        "error": error,
        **document.fields,
        "tables": document.tables,
        "said": document.said,
    }
    # NaN and infinity are no JSON; a table may hold them.
    print(json.dumps(_plain(everything), allow_nan=False), flush=True)


def _plain(value: object) -> object:
    """A value as JSON can hold it: paths as texts, what is not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, bool | int | str | None):
        return value
    number = getattr(value, "item", None)  # NumPy's numbers
    if callable(number):
        return _plain(number())
    if isinstance(value, float):
        return value if value - value == 0 else None
    return str(value)


def begin() -> None:
    """Forgets what an earlier command of this process has printed."""
    global _printed
    _printed = False


def print_refusal(arguments: Sequence[str], exit_code: int) -> None:
    """The document of a command line that no command could be read from, if one is wanted.

    Args:
        arguments: those behind the program's name.
        exit_code: what the parser ends with.
    """
    if "--json" in arguments and exit_code and not _printed:
        name = next((word for word in arguments if not word.startswith("-")), "")
        _print(name, _Document(), exit_code, "wrong usage: stderr says what")
