"""Tables and plots of `compare.py`'s results: `python benchmarks/search/summarize.py`.

For every CSV of runs in `results/` prints a markdown table (mean and standard deviation over seeds,
p of a one-sided Wilcoxon signed-rank test that ours is better, paired by seed; behind the stroke
that of ours told no costs, which knows no more than the rivals), and draws the curves; of
`multi_fidelity.py`'s, a table too. Before them stand two tables over all problems: what ours and
the best rival have, and when ours is where the best rival ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from compare import RIVALS_FILE
from one_number import holm
from rivals import FIXED
from scipy.stats import wilcoxon

RESULTS = Path(__file__).parent / "results"
# Variants of ours; the runs of ours itself stand in the file without the suffix.
_ABLATION = "-ablation"
_BLIND = "ours, told no costs"
_OWN = ("ours", "ours, told costs only", _BLIND)
# Fewer pairs than this can't give a p below .05.
_PAIRS = 5
_TITLES = {
    "nasbench201-cifar10": "NAS-Bench-201, CIFAR-10",
    "nasbench201-cifar100": "NAS-Bench-201, CIFAR-100",
    "table-digits-coarse": "digits, coarse grid",
    "table-digits": "digits, all",
    "table-kws": "keyword spotting, all",
    "table-kws-limited": "keyword spotting, limit of accuracy",
    "table-digits-limited": "digits, limit of accuracy",
}


def table(runs: pd.DataFrame, *, ablation: bool = False) -> str:
    """Markdown: one line per sampler, ours first, the rest by quality at 100 trials.

    Args:
        runs: As `compare.py` writes them.
        ablation: They are variants of ours, each tested against the one that knows as much.
    """
    marks = [column for column in ("at50", "at100", "at200") if runs[column].notna().any()]
    heads = " | ".join(f"{mark[2:]} trials | p" for mark in marks)
    lines = [f"| sampler | seeds | {heads} | CPU s |", "|" + "---|" * (3 + 2 * len(marks))]
    order = runs.groupby("sampler")["at100"].mean().sort_values(ascending=False).index
    first = [name for name in _OWN if name in order]
    for name in [*first, *(n for n in order if n not in _OWN)]:
        own = runs[runs.sampler == name]
        cells = []
        for mark in marks:
            cells.append(f"{own[mark].mean():.3f} ± {own[mark].std():.3f}")
            against = [] if name in _OWN else [n for n in first if n in ("ours", _BLIND)]
            if ablation and name not in _OWN:
                against = [_BLIND if name.endswith("told no costs") else "ours"]
            cells.append(" / ".join(better(runs, one, name, mark) for one in against))
        seconds = own["seconds"].mean()
        lines.append(f"| {name} | {len(own)} | {' | '.join(cells)} | {seconds:.0f} |")
    return "\n".join(lines)


def better(runs: pd.DataFrame, one: str, other: str, mark: str) -> str:
    """The p of `one` being better than `other`, over the seeds that both have."""
    a, b = (runs[runs.sampler == name].set_index("seed")[mark] for name in (one, other))
    gain = (a - b).dropna()
    if gain.empty or not (gain != 0).any():
        return "-"
    return f"{wilcoxon(gain, alternative='greater').pvalue:.2g}"


def overview(problems: dict[str, pd.DataFrame]) -> str:
    """Markdown: mean shares of ours and of the best rival at each mark, a line per problem.

    Args:
        problems: title -> runs.
    """
    marks = ["at50", "at100", "at200"]
    lines = ["| Problem | ours | ours, told no costs | best rival at that mark |", "|" + "---|" * 4]
    for title, runs in problems.items():
        means = runs.groupby("sampler")[marks].mean()
        rows = [means.loc["ours"], means.loc[_BLIND], means.drop(list(_OWN), errors="ignore").max()]
        cells = [", ".join(f"{value:.3f}" for value in row) for row in rows]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def leads(problems: dict[str, pd.DataFrame]) -> str:
    """Markdown: after how many trials ours has what the best rival has after the last ones."""
    lines = [
        f"| Problem | Best rival after 200 trials | Its share | {' | '.join(_OWN)} |",
        "|" + "---|" * 6,
    ]
    for title, runs in problems.items():
        marks = [c for c in runs.columns if c.startswith("at") and runs[c].notna().any()]
        means = runs.groupby("sampler")[marks].mean()
        rivals = means[marks[-1]].drop(list(_OWN), errors="ignore")
        cells = []
        for own in _OWN:
            there = [
                m[2:] for m in marks if own in means.index and means.loc[own, m] >= rivals.max()
            ]
            cells.append(f"within {there[0]}" if there else "")
        shown = f"{rivals.idxmax()} | {rivals.max():.3f}"
        lines.append(f"| {title} | {shown} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: pd.Series) -> str:
    """Mean and standard deviation; the value if there is only one."""
    mean = f"{values.mean():.3f}"
    return mean if len(values) == 1 else f"{mean} ± {values.std():.3f}"


def saved(runs: pd.DataFrame) -> str:
    """Markdown: what each policy of the assessor has for a share of the training steps."""
    marks = [column for column in runs.columns if column.startswith("at")]
    heads = " | ".join(f"{float(mark[2:]):.0%} of the steps" for mark in marks)
    tested = [mark for mark in ("test0.5", "test1") if runs[mark].notna().any()]
    ends = "".join(f" on test, {float(mark[4:]):.0%} |" for mark in tested)
    lines = [
        f"| policy | seeds | trials begun | {heads} | steps to the same end, median |{ends}",
        "|" + "---|" * (4 + len(marks) + len(tested)),
    ]
    for name, own in runs.groupby("policy", sort=False):
        cells = [spread(own[mark]) for mark in marks]
        median = own["reached"].median()
        end = f"{median:.0%}" if median < float("inf") else "not reached"
        cells += [end, *(spread(own[mark]) for mark in tested)]
        lines.append(f"| {name} | {len(own)} | {own['trials'].mean():.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def told(paths: Sequence[Path]) -> str:
    """Markdown: rivals that are told more, with ours on the same problems.

    The p of ours being better is paired by seed and corrected within a problem; there is none for
    fewer than five pairs. A rival without randomness has one run, which stands for every seed.

    Args:
        paths: of the rivals' files; beside each lies the problem's own.
    """
    heads = "25 trials | 50 trials | p | 100 trials | p | CPU s"
    lines = [f"| problem | sampler | seeds | {heads} |", "|" + "---|" * 9]
    for path in paths:
        problem = path.stem.removesuffix(RIVALS_FILE)
        own = pd.read_csv(path.with_stem(problem))
        own = own[own.sampler == "ours"].set_index("seed")
        rivals = {}
        for name, runs in pd.read_csv(path).groupby("sampler"):
            rivals[str(name)] = runs.set_index("seed")
            if name in FIXED:
                rivals[str(name)] = pd.concat([runs] * len(own)).set_index(own.index)
        p = {
            mark: _corrected(own[mark], {n: r[mark].dropna() for n, r in rivals.items()})
            for mark in ("at50", "at100")
        }
        title = _TITLES.get(problem, problem)
        ordered = sorted(rivals.items(), key=lambda rival: -rival[1]["at50"].mean())
        for name, values in [("ours", own), *ordered]:
            cells = []
            for mark in ("at25", "at50", "at100"):
                measured = values[mark].dropna().iloc[: 1 if name in FIXED else None]
                cells.append(spread(measured) if len(measured) else "")
                if mark in p:
                    cells.append(p[mark].get(name, ""))
            seeds = 1 if name in FIXED else len(values)
            seconds = f"{values['seconds'].mean():.0f}"
            lines.append(f"| {title} | {name} | {seeds} | {' | '.join(cells)} | {seconds} |")
            title = ""
    return "\n".join(lines)


def _corrected(own: pd.Series, rivals: dict[str, pd.Series]) -> dict[str, str]:
    """The p of ours being better than each, paired by seed."""
    p_values = {}
    for name, values in rivals.items():
        gain = (own - values).dropna()
        if len(gain) >= _PAIRS and (gain != 0).any():
            p_values[name] = float(wilcoxon(gain, alternative="greater").pvalue)
    return {name: f"{p:.2g}" for name, p in holm(p_values).items()}


def plot(runs: pd.DataFrame, path: Path) -> None:
    """Mean share of the best hypervolume against trials."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    marks = [column for column in runs.columns if column.startswith("at")]
    figure, axes = plt.subplots(figsize=(8, 5))
    for name, own in runs.groupby("sampler"):
        width = 3.0 if name in _OWN else 1.2
        trials = [int(mark[2:]) for mark in marks]
        axes.plot(trials, own[marks].mean(), label=name, linewidth=width)
    axes.set(xlabel="trials", ylabel="share of the best hypervolume", title=path.stem)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=90, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    problems = {t: pd.read_csv(RESULTS / f"{name}.csv") for name, t in _TITLES.items()}
    parts = [f"## Summary\n\n{overview(problems)}\n\n{leads(problems)}\n"]
    for path in sorted(RESULTS.glob("*.csv")):
        runs = pd.read_csv(path)
        if "policy" in runs.columns:
            parts.append(f"## {path.stem}\n\n{saved(runs)}\n")
        elif path.stem.endswith(RIVALS_FILE):
            continue
        elif {"sampler", "at100"} <= set(runs.columns) and "problem" not in runs.columns:
            ablation = path.stem.endswith(_ABLATION)
            if ablation:
                whole = pd.read_csv(path.with_stem(path.stem.removesuffix(_ABLATION)))
                runs = pd.concat([whole[whole.sampler.isin(_OWN)], runs[~runs.sampler.isin(_OWN)]])
            parts.append(f"## {path.stem}\n\n{table(runs, ablation=ablation)}\n")
            plot(runs, path.with_suffix(".png"))
    rivals = [p for n in _TITLES if (p := RESULTS / f"{n}{RIVALS_FILE}.csv").exists()]
    for limited in (False, True):
        paths = [path for path in rivals if ("limited" in path.stem) is limited]
        parts.append(f"## Told more{', limits' * limited}\n\n{told(paths)}\n")
    text = "\n".join(parts)
    (RESULTS / "summary.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
