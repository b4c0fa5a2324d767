"""The live Pareto page: an HTML page and its data, kept beside NNI's logs.

NNI's web server serves an experiment's log folder at ``/logs/``, so a page written there is
on the same port as NNI's UI. The page polls ``state.json`` and fetches only the new bytes of two
files that grow, ``points.jsonl`` (metrics) and ``genes.jsonl`` (chromosomes). Everything it
loads lies in that folder; nothing is requested from elsewhere.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from nni_plugin.protocol.json_types import JsonObject
from nni_plugin.protocol.log import logger
from nni_plugin.results.page_data import PageData, flatten
from nni_plugin.study.trial_log import TrialLog

__all__ = ["LivePage", "PageData", "flatten", "plotly_js", "render", "render_index"]

_ASSETS = Path(__file__).parents[1] / "assets"
_SCRIPTS = (
    *("store.js", "labels.js", "sketch.js", "charts.js", "legend.js", "cloud.js", "layers.js"),
    *(
        "parallel.js",
        "hypervolume.js",
        "importance.js",
        "slice.js",
        "chosen.js",
        "finalists.js",
        "advice.js",
        "trials.js",
        "failures.js",
        "main.js",
    ),
)
_INDEX_SCRIPTS = ("store.js", "labels.js", "sketch.js", "index.js")
_FOLDER = "joint-ga"
_EARLY = f"""<script>
window.askedEarly = ["state", "space"].map((name) =>
  fetch(`{_FOLDER}/${{name}}.json`, {{ cache: "no-store" }})
    .then((answer) => (answer.ok ? answer.json() : null)).catch(() => null));
</script>"""
"""Asks for the small files before the rest of the page is read."""
_INTERVAL_S = 1.0


def plotly_js() -> Path:
    """Path of plotly.min.js in the installed plotly package, found without importing it.

    Raises:
        FileNotFoundError: plotly is not installed, or without its JavaScript.
    """
    spec = importlib.util.find_spec("plotly")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.exists():
            return path
    raise FileNotFoundError("plotly.min.js not found: install plotly (pip install plotly)")


def render(data: JsonObject | None = None) -> str:
    """The page as HTML text.

    Args:
        data: ``PageData.embedded()`` for a self-contained page (about 5 MB: plotly is in it);
            None for the live page, which reads its data and plotly from ``joint-ga/`` beside it.
    """
    if data is None:
        embedded = plotly = ""
        early = _EARLY
    else:
        early = ""
        # "<" must not appear in the text: "</script>" would end the element.
        text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        embedded = f'<script type="application/json" id="joint-ga-data">{text}</script>'
        plotly = f"<script>{plotly_js().read_text(encoding='utf-8')}</script>"
    marks = {"<!--EARLY-->": early, "<!--DATA-->": embedded, "<!--PLOTLY-->": plotly}
    return _filled("page.html", _SCRIPTS, marks)


def render_index(experiments: Sequence[str]) -> str:
    """The page of several experiments as HTML text; each one's own page lies in its folder.

    Args:
        experiments: names of the folders beside the page.
    """
    text = json.dumps(list(experiments)).replace("<", "\\u003c")
    embedded = f'<script type="application/json" id="joint-ga-data">{text}</script>'
    return _filled("index.html", _INDEX_SCRIPTS, {"<!--DATA-->": embedded})


def _filled(page: str, scripts: Sequence[str], marks: Mapping[str, str]) -> str:
    """A page of the assets with its style, its scripts, and what else goes to its marks."""
    html, style = (_ASSETS / name for name in (page, "page.css"))
    script = "\n".join((_ASSETS / name).read_text(encoding="utf-8") for name in scripts)
    result = html.read_text(encoding="utf-8")
    common = {"/*CSS*/": style.read_text(encoding="utf-8"), "/*JS*/": script}
    for mark, text in {**common, **marks}.items():
        result = result.replace(mark, text, 1)
    return result


class LivePage:
    """Keeps the page of one running experiment.

    The tuner calls :meth:`update` after every journal line. It only sets a flag: a daemon thread
    reads the journal and writes the files, at most once a second. Nothing is ever raised, because
    a page must not be able to end a search; what goes wrong is logged once.

    Args:
        log_dir: NNI's log folder (``$NNI_LOG_DIRECTORY``).
        journal: path of the tuner's ``journal.jsonl``.
        experiment_id: shown in the title; by default the name of the experiment's folder.
        planned: number of trials after which the experiment is done, where it is known.
    """

    URL_PATH = "/logs/pareto.html"

    def __init__(
        self,
        log_dir: str | Path,
        journal: str | Path,
        experiment_id: str = "",
        planned: int | None = None,
    ) -> None:
        self._dir = Path(log_dir)
        self._journal = Path(journal)
        self._experiment = experiment_id or self._dir.resolve().parent.name
        self._planned = planned
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._data: PageData | None = None
        self._generation = 0.0
        self._sizes = {"points": 0, "genes": 0}
        self._version = 0
        self._complained = False

    def update(self) -> None:
        """Asks for a rewrite; returns at once."""
        self._wake.set()
        if self._thread is None and not self._closing.is_set():
            self._thread = threading.Thread(target=self._run, name="live-page", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Writes what is missing and stops the thread; may be called twice."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            started = time.monotonic()
            self._write_guarded()
            # A slow disk or a large run stretches the interval: at most 5 % of the time goes here.
            self._closing.wait(max(_INTERVAL_S, 20 * (time.monotonic() - started)))
        self._write_guarded()

    def _write_guarded(self) -> None:
        try:
            self.write()
        except Exception:
            if not self._complained:
                logger.exception("The live Pareto page cannot be written to %s", self._dir)
            self._complained = True

    def write(self) -> None:
        """Writes the page and its data now.

        Raises:
            OSError: the log folder cannot be written.
        """
        folder = self._dir / _FOLDER
        if self._data is None:
            self._data = PageData(TrialLog(self._journal), self._experiment, self._planned)
            folder.mkdir(parents=True, exist_ok=True)
            _place_plotly(folder / "plotly.min.js")
            (self._dir / "pareto.html").write_text(render(), encoding="utf-8")
        data = self._data
        points, genes = data.refresh()
        anew = data.generation != self._generation
        if anew:
            self._generation = data.generation
            space = {**data.space(), "generation": data.generation}
            _replace(folder / "space.json", json.dumps(space))
        for name, lines in (("points", points), ("genes", genes)):
            size = 0 if anew else self._sizes[name]
            self._sizes[name] = size + _append(folder / f"{name}.jsonl", lines, anew)
        self._version += 1
        state = {**data.state(), "version": self._version, "bytes": self._sizes}
        _replace(folder / "state.json", json.dumps(state, separators=(",", ":")))


def _append(path: Path, lines: list[str], anew: bool) -> int:
    data = "".join(line + "\n" for line in lines).encode()
    with path.open("wb" if anew else "ab") as stream:
        stream.write(data)
    return len(data)


def _replace(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _place_plotly(target: Path) -> None:
    """Links plotly.min.js (4.8 MB) instead of copying it into each experiment, where it can."""
    if target.exists():
        return
    target.unlink(missing_ok=True)
    source = plotly_js()
    try:
        target.symlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
