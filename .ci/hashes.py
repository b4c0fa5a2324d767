"""Writes the hashes of all pinned packages, or checks that none is missing.

    python .ci/hashes.py --uv PATH    renews requirements/ from constraints.txt (make hashes)
    python .ci/hashes.py              exits with 1 if a pin has no hash, or another version's

`pylock.toml` is renewed and checked too: what is needed to run, in the format of PEP 751, for
`pip install -r pylock.toml` and `uv pip sync`. It has no torch, for the same reason.

There is a file for each of the Makefile's installs. A package's hashes are those of all its files
on the index, so they hold for each Python version and platform. torch has none: its builds for
CPU, CUDA and ROCm have one version and come from different places.

Which package belongs to which file is read from what is installed, so renewing needs the packages
of `make test` and `make docs`.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"
LOCK = ROOT / "pylock.toml"
UNHASHED = {"torch"}
GROUPS = {"run": (), "dev": ("dev", "litert", "tflm", "vela", "optuna", "ray"), "docs": ("docs",)}
"""The extras of each file, beside what is always needed. The rest is in `bench`."""
VERSIONS = ("3.11", "3.12", "3.13")
HEADER = "# From constraints.txt, by: make hashes\n"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def pins(text: str) -> dict[str, str]:
    """Versions by canonical name."""
    found = (_PIN.match(line) for line in text.splitlines())
    return {canonicalize_name(match[1]): match[2] for match in found if match}


def needed(wanted: Iterable[str]) -> set[str]:
    """Canonical names of what requirements bring along, on Linux and any supported Python."""
    seen: set[tuple[str, frozenset[str]]] = set()
    left = [Requirement(text) for text in wanted]
    while left:
        one = left.pop()
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key not in seen:
            seen.add(key)
            further = (Requirement(text) for text in requires(one.name) or [])
            left += [each for each in further if _applies(each, one.extras or {""})]
    return {name for name, _ in seen}


def _applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({"python_version": version, "extra": extra})
        for version in VERSIONS
        for extra in extras
    )


def renew(uv: str) -> None:
    """Writes a file of hashes for each group."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = pins((ROOT / "constraints.txt").read_text())
    always = needed(project["dependencies"])
    members = {
        name: needed(text for extra in extras for text in project["optional-dependencies"][extra])
        for name, extras in GROUPS.items()
    }
    members = {"run": always} | {name: members[name] - always for name in members if name != "run"}
    members["bench"] = known.keys() - set().union(*members.values())
    FOLDER.mkdir(exist_ok=True)
    for name, packages in members.items():
        lines = [f"{one}=={known[one]}\n" for one in sorted(packages - UNHASHED)]
        done = subprocess.run(
            f"{uv} pip compile - --no-deps --generate-hashes --no-header --no-annotate --quiet "
            f"--python-version {VERSIONS[0]}".split(),
            input="".join(lines),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        (FOLDER / f"{name}.txt").write_text(HEADER + done.stdout)
    write_lock(uv, project["dependencies"], sorted(members["run"] - UNHASHED), known)


def write_lock(
    uv: str, dependencies: Iterable[str], packages: Iterable[str], known: dict[str, str]
) -> None:
    """Writes `pylock.toml`; pip's own `lock` would ask for one platform only."""
    markers = {
        canonicalize_name(one.name): f" ; {one.marker}" if one.marker else ""
        for one in map(Requirement, dependencies)
    }
    subprocess.run(
        f"{uv} pip compile - --no-deps --universal --format pylock.toml --quiet --no-header "
        f"--python-version {VERSIONS[0]} -o {LOCK}".split(),
        input="".join(f"{one}=={known[one]}{markers.get(one, '')}\n" for one in packages),
        stdout=subprocess.DEVNULL,
        text=True,
        check=True,
    )


def problems() -> Iterator[str]:
    """What is wrong with the files, a line for each."""
    known = pins((ROOT / "constraints.txt").read_text())
    hashed: set[str] = set()
    for name in (*GROUPS, "bench"):
        path = FOLDER / f"{name}.txt"
        text = path.read_text() if path.exists() else ""
        # One requirement with its hashes, which stand on lines of their own.
        for entry in text.replace("\\\n", " ").splitlines():
            if not (match := _PIN.match(entry)):
                if entry.strip() and not entry.startswith("#"):
                    yield f"{path}: {entry.strip()[:60]!r} is no pinned package"
                continue
            package, version = canonicalize_name(match[1]), match[2]
            if known.get(package) != version:
                pinned = known.get(package, "nothing")
                yield f"{path}: {package}=={version}, but constraints.txt has {pinned}"
            hashes = re.findall(r"--hash=(\S+)", entry)
            if not hashes:
                yield f"{path}: {package} has no hash"
            for wrong in (one for one in hashes if not _HASH.fullmatch(one)):
                yield f"{path}: a hash of {package} is cut or no sha256: {wrong}"
            hashed.add(package)
    yield from problems_of_lock(known)
    for package in sorted(known.keys() - hashed - UNHASHED):
        yield f"constraints.txt: {package}=={known[package]} has no hash in {FOLDER.name}/"


def problems_of_lock(known: dict[str, str]) -> Iterator[str]:
    """Where `pylock.toml` is not what is pinned."""
    text = (FOLDER / "run.txt").read_text()
    wanted = {name: known.get(name) for name in pins(text.replace("\\\n", " "))}
    found = {one["name"]: one["version"] for one in tomllib.loads(LOCK.read_text())["packages"]}
    for package in sorted(wanted.keys() | found.keys()):
        if wanted.get(package) != found.get(package):
            yield (
                f"{LOCK}: {package} is {found.get(package, 'missing')}, but constraints.txt has "
                f"{wanted.get(package, 'no such package')}"
            )


def main() -> None:
    """Renews or checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uv", help="the uv program, which asks the index for the hashes")
    options = parser.parse_args()
    if options.uv:
        renew(options.uv)
    found = list(problems())
    for problem in found:
        print(problem, file=sys.stderr)
    if found:
        sys.exit("To renew the hashes: make hashes")


if __name__ == "__main__":
    main()
