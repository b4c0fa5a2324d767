"""Finding a user's task by its name, ``module:function?option=value``."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path

from evaluators.compression.dead_channels import without_dead_channels
from evaluators.process_state import process_as_found
from evaluators.task import Task

# No option needs more digits; Python refuses thousands of them in words of its own.
_WHOLE = re.compile(r"-?\d{1,18}")


@process_as_found()
def load_task(path: str, data: str | None = None) -> Task:
    """Calls a task function named ``module:function``.

    The current folder is searched first, so a task may live beside the config that names it. Its
    function may import what lies there, too; afterwards the search path is as it was.

    Args:
        path: for example ``evaluators.tasks.digits:build``. Options follow a question mark, as
            in ``evaluators.tasks.cifar10:build?train_samples=5000&weights=train``; they are
            passed as keyword arguments, whole numbers as ``int``. ``remove_dead=1`` is for every
            task: :func:`evaluators.compression.dead_channels.without_dead_channels`.
        data: passed as ``data=`` if the function takes it.

    Raises:
        ValueError: the path has another form, the module or the function can't be found, the
            module or the function fails, the function doesn't take ``data`` or an option or needs
            another, or what comes back is no :class:`Task`.
        OSError: a file that the function reads, as it raised it.
    """
    address, _, query = path.partition("?")
    module_name, colon, function_name = address.partition(":")
    if not (module_name and colon and function_name):
        raise ValueError(f"task {path!r} must be 'module:function', as 'my_task:build'")
    build = _find(path, module_name, function_name)
    arguments = _options(path, query)
    remove_dead = arguments.pop("remove_dead", 0)
    if remove_dead not in (0, 1):
        raise ValueError(f"task {path!r}: remove_dead={remove_dead!r} must be 0 or 1")
    if data is not None:
        arguments["data"] = data
    accepted, anything = _accepted(build)
    for name, value in arguments.items():
        if not anything and name not in accepted:
            raise ValueError(
                f"task {path!r}: {function_name}() takes no {name}={_near(name, accepted)} (given: "
                f"{value!r}; it takes: {', '.join(sorted(accepted)) or 'nothing'})"
            )
    _check_required(path, build, arguments)
    try:
        task = build(**arguments)
    except (ValueError, OSError):
        raise  # the input's fault, said in the function's own words
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"task {path!r}: {function_name}() fails with {type(error).__name__}: {error}"
            f"{place(error)}"
        ) from error
    if not isinstance(task, Task):
        raise ValueError(
            f"task {path!r} returned {type(task).__name__}, not evaluators.Task: "
            "let the function end with `return Task(model=..., train=..., ...)`"
        )
    task.name = task.name or module_name.rpartition(".")[2]
    if remove_dead:
        return without_dead_channels(task)
    return task


def _find(path: str, module_name: str, function_name: str) -> Callable[..., object]:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _import_fault(path, module_name, error) from error
        raise ValueError(
            f"task {path!r}: module {module_name!r} does not import: there is none of this name"
            f"{_module_near(module_name, here)}. It is looked for in {here} and in the installed "
            "packages"
        ) from error
    # A module may do anything, a script's `sys.exit()` at its end for one.
    except (Exception, SystemExit) as error:
        raise _import_fault(path, module_name, error) from error
    build = getattr(module, function_name, None)
    if not callable(build):
        names = sorted(n for n, v in vars(module).items() if inspect.isfunction(v) and n[0] != "_")
        raise ValueError(
            f"task {path!r}: module {module_name!r} has no function {function_name!r}"
            f"{_near(function_name, names)} (functions there: {', '.join(names) or 'none'})"
        )
    return build  # type: ignore[no-any-return]  # found by name; it is callable


def _import_fault(path: str, module_name: str, error: BaseException) -> ValueError:
    return ValueError(
        f"task {path!r}: module {module_name!r} fails while it is imported: "
        f"{type(error).__name__}: {error}{place(error)}"
    )


def _module_near(module_name: str, here: str) -> str:
    package, _, last = module_name.rpartition(".")
    # Its package was imported first, unless that is what there is none of.
    places = getattr(sys.modules.get(package), "__path__", [Path(here, *package.split("."))])
    beside = [path for place in places for path in Path(place).glob("*")]
    return _near(
        last, [p.stem for p in beside if p.suffix == ".py" or (p / "__init__.py").is_file()]
    )


def _near(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _options(path: str, query: str) -> dict[str, int | str]:
    options: dict[str, int | str] = {}
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        if not (name.isidentifier() and equals):
            raise ValueError(f"task {path!r}: option {part!r} must be name=value")
        options[name] = int(value) if _WHOLE.fullmatch(value) else value
    return options


def _check_required(
    path: str, build: Callable[..., object], arguments: dict[str, int | str]
) -> None:
    for p in inspect.signature(build).parameters.values():
        optional = p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        if p.name == "data" and not optional and "data" not in arguments:
            raise ValueError(f"task {path!r}: it needs its data: give --data PATH")
        if not optional and p.name not in arguments:
            name = path.partition("?")[0]
            raise ValueError(
                f"task {path!r}: it needs {p.name}=: give it a default, or write "
                f"'{name}?{p.name}=...'"
            )


def place(error: BaseException) -> str:
    """Where in the user's files an error was raised, ``" (my_task.py:12)"``; may be empty."""
    # Its message has the place.
    if isinstance(error, SyntaxError):
        return ""
    installed = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
    own, tasks = str(Path(__file__).parent), str(Path(__file__).with_name("tasks"))
    theirs = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((*installed, own, "<"))
        # The tasks beside this file are as a user's.
        or frame.filename.startswith(tasks)
    ]
    return f" ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""


def _accepted(build: Callable[..., object]) -> tuple[set[str], bool]:
    """Names of the function's parameters, and whether it takes any name at all."""
    parameters = inspect.signature(build).parameters.values()
    return {p.name for p in parameters}, any(p.kind is p.VAR_KEYWORD for p in parameters)
