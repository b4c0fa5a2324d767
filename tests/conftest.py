"""What holds for all tests, and every fixture that more than one file uses.

The plain functions and classes behind the fixtures are in `support`. It is imported where it is
needed, so that the tests of `ga` and `hardware` alone start without torch.
"""

from __future__ import annotations

import os

# Two workers of pytest share two cores; numpy reads this when it is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from support.paths import DATA

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would every process that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A shared machine has no deadlines; the same examples each time keep CI from flaking.
settings.register_profile("shared", deadline=None, derandomize=True)
settings.load_profile("shared")

# ---- what a test costs

MARKER_OF_FIXTURE = {"nni": "nni", "chromium": "browser", "emulator": "emulator"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cpu-limit",
        type=float,
        metavar="SECONDS",
        help="fail a test that takes more seconds of CPU, those of its processes included",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses NNI, the browser or the emulator, so that no test has to think of it."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            # A file's own fixture of that name is another thing.
            own = callable(getattr(getattr(item, "module", None), fixture, None))
            if fixture in MARKER_OF_FIXTURE and not own:
                item.add_marker(MARKER_OF_FIXTURE[fixture])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Hold a test to `--cpu-limit`: what is slow and not marked would slip into the fast suite."""
    limit = item.config.getoption("--cpu-limit")
    before = sum(os.times()[:4])
    result = yield
    took = sum(os.times()[:4]) - before
    if limit and took > limit:
        pytest.fail(f"took {took:.1f} s of CPU, over {limit:g} s: make it lighter or mark it slow")
    return result


# ---- the process that tests run in


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Two workers of pytest share two cores; more threads of torch only wait for each other."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of its own for each test session's process, so nothing depends on the user's."""
    path = tmp_path_factory.getbasetemp() / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOINT_GA_CACHE", str(path))
        # It names the tests' own data (`support.paths`); the code under test has to be told.
        patch.delenv("JOINT_GA_DATA", raising=False)
        yield path


# ---- what not every machine has


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of data packs; what needs it is skipped elsewhere."""
    if not (DATA / "cifar10_webp.npz").is_file():
        pytest.skip(f"no data packs in {DATA} (set JOINT_GA_DATA to their folder)")
    return DATA


@pytest.fixture(scope="session")
def emulator() -> None:
    """The emulator's tools: in CI they must be here, elsewhere tests that need them skip."""
    from hardware.measure.qemu import missing_tools

    missing = missing_tools()
    if not missing:
        return
    message = f"the emulator's tools are not installed: {', '.join(missing)}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium that logs requests and console messages; one for all tests."""
    from support.browser import start_chromium

    driver = start_chromium(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


@pytest.fixture
def nni(tmp_path: Path) -> Iterator[Any]:
    """A real NNI experiment with a home, a port and a folder of its own."""
    from support.nni_experiment import NniExperiment

    experiment = NniExperiment(tmp_path)
    try:
        yield experiment
    finally:
        experiment.close()


# ---- journals


@pytest.fixture
def events() -> list[dict[str, Any]]:
    """A run of six: five results and a failure."""
    from support.journals import six_trials

    return six_trials()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes events (by default those of `events`) as an experiment's folder and returns it."""
    from support.journals import write_experiment

    def make(lines: list[dict[str, Any]] | None = None, name: str = "exp1") -> Path:
        return write_experiment(tmp_path / name, lines)

    return make


# ---- quantized networks, for the export


@pytest.fixture
def network() -> Callable[..., Any]:
    """Makes a small quantized network without training."""
    from support.quantized import make

    return make


@pytest.fixture
def describe() -> Callable[..., Any]:
    """Gives a network's layers as `hardware` knows them, with the bits of a calibration."""
    from support.quantized import layers_of

    return layers_of


@pytest.fixture
def quantize() -> Callable[..., Any]:
    """Quantizes any network without training."""
    from support.quantized import round_all

    return round_all


@pytest.fixture
def compressed() -> Callable[..., tuple[Any, ...]]:
    """Makes a trial with every scheme, sparsity and width in turn, and factors."""
    from support.quantized import compress

    return compress


@pytest.fixture
def host_main() -> str:
    """A program that runs the exported C on its standard input."""
    from support.quantized import HOST_MAIN

    return HOST_MAIN


@pytest.fixture
def joint_ga(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Any]]:
    """Calls the command in this process, from ``tmp_path`` as working and home directory."""
    from support.joint_ga import calls

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield from calls(monkeypatch, capsys)


@pytest.fixture
def run(tmp_path):
    """Starts ``joint-ga run`` on a made-up experiment; ends it with the test."""
    from support.joint_ga_run import Run, config_in

    started = []

    def start(trials, *options, folder=tmp_path, **settings):
        folder.mkdir(exist_ok=True)
        config_in(folder, trials, **settings)
        started.append(Run(folder, *options))
        return started[-1]

    yield start
    for one in started:
        one.close()
