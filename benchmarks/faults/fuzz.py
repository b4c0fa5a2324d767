"""Wrong input of every kind: it is taken, or refused with a message of ours; nothing else happens.

    python -m benchmarks.faults.fuzz [--cases 100000] [--seed 0] [--target device] [--first 17]

A case succeeds, or it ends with a ValueError or an OSError in words of this project (unknown
classArgs: a TypeError). Any other exception, Python's own words, and a case that takes more than
ten seconds of CPU are findings, each printed with the command that repeats it alone. The exit
status is 1 if there is one.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.targets import TARGETS, Target

CPU_SECONDS = 10.0

PYTHONS_WORDS = re.compile(
    r"math domain error|cannot convert float|could not convert string|invalid literal for|"
    r"(too many|not enough) values to unpack|Exceeds the limit|(max|min)\(\) (arg|iterable)|"
    r".* is not in (list|tuple)$|embedded null byte|Out of range float|month must be|"
    r"zero-size array|operands could not be broadcast"
)
"""How a ValueError begins that Python or NumPy raised and nobody here put into words."""


class TooSlowError(BaseException):
    """No `Exception`, so that no code under test takes it for one of its own."""


@dataclass(frozen=True)
class Finding:
    """A case that neither succeeded nor was refused in our words."""

    target: str
    case: int
    seed: int
    what: str
    where: str

    def __str__(self) -> str:
        command = f"--target {self.target} --seed {self.seed} --first {self.case} --cases 1"
        return f"{self.target}: {self.what}\n    at {self.where}\n    repeat: {command}"


def run_case(
    name: str, target: Target, seed: int, case: int, folder: Path, cpu_seconds: float
) -> Finding | None:
    """Run one case; it depends on the target's name, the seed and its number only."""
    rng = random.Random(f"{seed}/{name}/{case}")
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
    try:
        target(rng, folder)
    except (Exception, TooSlowError) as error:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        if not _is_refusal(error):
            frames = traceback.extract_tb(error.__traceback__)
            ours = [f for f in frames if "site-packages" not in f.filename and "/lib/" not in f[0]]
            place = " <- ".join(
                f"{'/'.join(Path(f.filename).parts[-3:])}:{f.lineno}" for f in ours[:-3:-1]
            )
            what = f"{type(error).__name__}: {str(error)[:200]}"
            return Finding(name, case, seed, what, place)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return None


def _is_refusal(error: BaseException) -> bool:
    if isinstance(error, TypeError):
        return str(error).startswith("unknown classArgs")
    if isinstance(error, ValueError):
        return bool(str(error)) and not PYTHONS_WORDS.match(str(error))
    return isinstance(error, OSError)


def _too_slow(_number: int, _frame: object) -> None:
    raise TooSlowError("it takes too much CPU")


def fuzz(
    cases: int,
    seed: int,
    targets: Mapping[str, tuple[int, Target]] = TARGETS,
    *,
    first: int = 0,
    cpu_seconds: float = CPU_SECONDS,
    say: Callable[[str], None] = lambda text: None,
) -> list[Finding]:
    """Run cases over targets, in shares by their weights.

    Args:
        cases: how many in all.
        seed: other seeds give other cases.
        targets: weight and function by name.
        first: number of the first case of each target.
        cpu_seconds: that a case may take.
        say: gets a line per target when it is through.
    """
    total = sum(weight for weight, _ in targets.values())
    findings: list[Finding] = []
    before = signal.signal(signal.SIGVTALRM, _too_slow)
    here, search_path = Path.cwd(), list(sys.path)
    logging.disable(logging.CRITICAL)
    try:
        with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            folder = Path(name)
            os.chdir(folder)
            for target_name, (weight, target) in targets.items():
                count, start = max(1, cases * weight // total), time.process_time()
                found = [
                    found_one
                    for case in range(first, first + count)
                    if (found_one := run_case(target_name, target, seed, case, folder, cpu_seconds))
                ]
                findings += found
                seconds = time.process_time() - start
                say(f"{target_name:14} {count:7} cases {len(found):4} findings {seconds:7.1f} s")
    finally:
        os.chdir(here)
        sys.path[:] = search_path
        logging.disable(logging.NOTSET)
        signal.signal(signal.SIGVTALRM, before)
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--target", choices=sorted(TARGETS), help="this one alone")
    args = parser.parse_args()
    targets = {args.target: TARGETS[args.target]} if args.target else TARGETS
    findings = fuzz(args.cases, args.seed, targets, first=args.first, say=print)
    causes: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        causes.setdefault((finding.what.partition(":")[0], finding.where), []).append(finding)
    for same in causes.values():
        print(f"\n{same[0]}" + (f"\n    and {len(same) - 1} more" if len(same) > 1 else ""))
    print(f"\n{len(findings)} findings of {len(causes)} causes")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
