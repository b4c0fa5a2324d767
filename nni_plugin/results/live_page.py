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
from pathlib import Path
from typing import TypedDict

from ga.evaluation import COMPLETE, FAILED
from nni_plugin.protocol.json_types import JsonObject, Params
from nni_plugin.protocol.log import logger
from nni_plugin.results.pareto_front import FrontHistory
from nni_plugin.study.trial_log import FINAL, Trial, TrialLog

__all__ = ["LivePage", "PageData", "plotly_js", "render"]

_ASSETS = Path(__file__).parents[1] / "assets"
_SCRIPTS = ("store.js", "sketch.js", "charts.js", "cloud.js", "layers.js", "main.js")
_FOLDER = "joint-ga"
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
    html = (_ASSETS / "page.html").read_text(encoding="utf-8")
    script = "\n".join((_ASSETS / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    if data is None:
        embedded = plotly = ""
        # Fetched at once, run by main.js once the front has been sketched.
        preload = f'<link rel="preload" href="{_FOLDER}/plotly.min.js" as="script">'
    else:
        preload = ""
        # "<" must not appear in the text: "</script>" would end the element.
        text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        embedded = f'<script type="application/json" id="joint-ga-data">{text}</script>'
        plotly = f"<script>{plotly_js().read_text(encoding='utf-8')}</script>"
    parts = {
        "/*CSS*/": (_ASSETS / "page.css").read_text(encoding="utf-8"),
        "/*JS*/": script,
        "<!--PRELOAD-->": preload,
        "<!--DATA-->": embedded,
        "<!--PLOTLY-->": plotly,
    }
    for mark, text in parts.items():
        html = html.replace(mark, text, 1)
    return html


class PageData:
    """What the page shows, derived from a :class:`TrialLog` step by step.

    Args:
        log: the experiment's trials; this class calls its ``refresh``.
        experiment: name shown in the title.
    """

    def __init__(self, log: TrialLog, experiment: str = "") -> None:
        self.log = log
        self.experiment = experiment
        self.generation = time.time()
        self._reset([])

    def _reset(self, metrics: list[str]) -> None:
        self.metrics = metrics
        self.genes = _genes(self.log)
        self._codes = [_codes(gene["values"]) for gene in self.genes]
        self.points: list[str] = []
        self.chromosomes: list[str] = []
        self._finish_times: list[float] = []
        self._front = (
            FrontHistory(self.log.objectives, self.log.constraints) if self.log.objectives else None
        )
        self._goal = (self.log.objectives, self.log.constraints)
        self.generation += 1

    def refresh(self) -> tuple[list[str], list[str]]:
        """Reads what the journal gained; returns the new lines of points and of chromosomes.

        When the columns change (a new metric, another search space or other objectives) the data
        starts anew under another ``generation``, and all lines are returned.
        """
        finished = self.log.refresh()
        metrics = self.log.metric_names()
        names = [gene["name"] for gene in self.genes]
        goal = (self.log.objectives, self.log.constraints)
        changed = [g["name"] for g in _genes(self.log)] != names or goal != self._goal
        if changed or set(metrics) - set(self.metrics):
            self._reset(metrics)
            finished = self.log.finished()
        points = [self._point(t) for t in finished]
        chromosomes = [self._chromosome(t) for t in finished]
        self.points += points
        self.chromosomes += chromosomes
        self._finish_times += [self._elapsed(t) for t in finished if t.status == COMPLETE]
        if self._front is not None:
            self._front.extend(finished)
        return points, chromosomes

    def _elapsed(self, trial: Trial) -> float:
        start = self.log.started or trial.finished or 0.0
        return round(max(0.0, (trial.finished or start) - start), 1)

    def _point(self, trial: Trial) -> str:
        feasible = self._front is not None and self._front.feasible(trial)
        row = [
            trial.uid,
            trial.job_id,
            self._elapsed(trial),
            FINAL.index(trial.status),
            int(feasible),
            trial.origin,
            [trial.metrics.get(name) for name in self.metrics],
        ]
        return json.dumps(row, separators=(",", ":"))

    def _chromosome(self, trial: Trial) -> str:
        flat = flatten(trial.params)
        coded = []
        for gene, codes in zip(self.genes, self._codes, strict=True):
            value = flat.get(gene["name"])
            coded.append(value if codes is None else codes.get(_key(value)))
        return json.dumps([trial.uid, coded], separators=(",", ":"))

    def state(self) -> JsonObject:
        """The small part that is rewritten: counts, front, hypervolume, limits, marks."""
        log, front = self.log, self._front
        last = max((t.finished or 0.0 for t in log.trials.values()), default=0.0)
        failed = log.finished(FAILED)
        int8 = log.uniform_int8()
        return {
            "generation": self.generation,
            "experiment": self.experiment,
            "ended": log.ended,
            "elapsed": round(max(0.0, last - (log.started or last)), 1),
            "counts": log.counts(),
            "failure": failed[-1].reason if failed else "",
            "objectives": log.objectives,
            "limits": [
                {"metric": c.metric, "op": c.operator, "limit": c.bound}
                for c in (front.constraints if front else ())
            ],
            "metrics": self.metrics,
            "baseline": log.baseline(),
            "int8": int8.uid if int8 else None,
            "front": front.front if front else [],
            "hypervolume": self._hypervolume(),
        }

    def _hypervolume(self) -> list[list[float]]:
        if self._front is None or not self._front.steps:
            return []
        times = self._finish_times
        rows = [[n, times[n - 1], round(v, 6)] for n, v in self._front.steps]
        if rows[-1][0] != len(times):
            rows.append([len(times), times[-1], rows[-1][2]])
        return rows

    def space(self) -> JsonObject:
        """What stays: the genes, and how to show the kinds that belong to layers."""
        # Imported here, as above.
        from hardware.ir.gene_kinds import gene_kinds

        kinds = [
            {
                "name": kind.name,
                "label": kind.label,
                "neutral": kind.neutral,
                "strongest": kind.strongest,
                "percent": kind.percent,
                "texts": dict(kind.value_labels),
            }
            for kind in gene_kinds()
            if kind.scope != "network"
        ]
        return {"genes": self.genes, "kinds": kinds}

    def embedded(self) -> JsonObject:
        """Everything at once, for a self-contained page; call :meth:`refresh` before."""
        return {
            "state": self.state(),
            "space": self.space(),
            "points": [json.loads(line) for line in self.points],
            "genes": [json.loads(line) for line in self.chromosomes],
        }


class LivePage:
    """Keeps the page of one running experiment.

    The tuner calls :meth:`update` after every journal line. It only sets a flag: a daemon thread
    reads the journal and writes the files, at most once a second. Nothing is ever raised, because
    a page must not be able to end a search; what goes wrong is logged once.

    Args:
        log_dir: NNI's log folder (``$NNI_LOG_DIRECTORY``).
        journal: path of the tuner's ``journal.jsonl``.
        experiment_id: shown in the title; by default the name of the experiment's folder.
    """

    URL_PATH = "/logs/pareto.html"

    def __init__(self, log_dir: str | Path, journal: str | Path, experiment_id: str = "") -> None:
        self._dir = Path(log_dir)
        self._journal = Path(journal)
        self._experiment = experiment_id or self._dir.resolve().parent.name
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
            self._data = PageData(TrialLog(self._journal), self._experiment)
            folder.mkdir(parents=True, exist_ok=True)
            _place_plotly(folder / "plotly.min.js")
            (self._dir / "pareto.html").write_text(render(), encoding="utf-8")
        data = self._data
        points, genes = data.refresh()
        anew = data.generation != self._generation
        if anew:
            self._generation = data.generation
            _replace(folder / "space.json", json.dumps(data.space()))
        for name, lines in (("points", points), ("genes", genes)):
            size = 0 if anew else self._sizes[name]
            self._sizes[name] = size + _append(folder / f"{name}.jsonl", lines, anew)
        self._version += 1
        state = {**data.state(), "version": self._version, "bytes": self._sizes}
        _replace(folder / "state.json", json.dumps(state, separators=(",", ":")))


def flatten(params: Params, prefix: str = "") -> Params:
    """Nested NNI choices as flat genes: ``{"a": {"_name": "x", "b": 1}}`` -> ``a: x, a/b: 1``."""
    flat: Params = {}
    for key, value in params.items():
        if isinstance(value, dict):
            flat[prefix + key] = value.get("_name")
            flat.update(
                flatten({k: v for k, v in value.items() if k != "_name"}, f"{prefix}{key}/")
            )
        else:
            flat[prefix + key] = value
    return flat


class _Gene(TypedDict):
    name: str
    values: list[object] | None


def _genes(log: TrialLog) -> list[_Gene]:
    """Genes in the order of the search space; ``values`` is None where they are numbers.

    A gene that several options of a nested choice share by name appears once.
    """
    genes: dict[str, list[object] | None] = {}

    def walk(space: JsonObject, prefix: str) -> None:
        for key, entry in space.items():
            if not isinstance(entry, dict) or "_type" not in entry:
                continue
            values = entry.get("_value") if entry["_type"] == "choice" else None
            nested = [v for v in values or [] if isinstance(v, dict)]
            if nested:
                assert values is not None
                values = [v.get("_name") if isinstance(v, dict) else v for v in values]
            name = prefix + key
            genes[name] = values if genes.get(name, values) == values else None
            for option in nested:
                walk({k: v for k, v in option.items() if k != "_name"}, f"{prefix}{key}/")

    walk(log.space, "")
    return [{"name": name, "values": values} for name, values in genes.items()]


def _key(value: object) -> object:
    return value if isinstance(value, (int, float, str)) else json.dumps(value)


def _codes(values: list[object] | None) -> dict[object, int] | None:
    return None if values is None else {_key(v): i for i, v in enumerate(values)}


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
