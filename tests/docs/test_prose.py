"""The check of the documentation's language, and that it can fail."""

import importlib.util
import os
import subprocess
import sys

import pytest

from support.paths import REPOSITORY

SHORT = "The tuner asks for one candidate. A trial trains it.\n"
LONG = f"{'very ' * 20}long.\n"


def check(folder, page, *options):
    (folder / "page.md").write_text(page)
    return subprocess.run(
        [sys.executable, ".ci/prose.py", "--mean", "18", *options, str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )


def test_a_plain_page_passes(tmp_path):
    done = check(tmp_path, SHORT)
    assert done.returncode == 0, done.stdout
    assert "1 pages, 2 sentences of 5.0 words on average" in done.stdout


@pytest.mark.parametrize(
    ("page", "options", "complaint"),
    [
        (LONG, [], "page.md:1: a sentence has 21.0 words on average; at most 18"),
        (f"{SHORT * 9}\n{'word ' * 40}end.", [], "page.md:11: 41 words in one sentence"),
        ("- This item has no end, " + "and " * 40, [], "words in one sentence"),
        ("It reached .977 without costs.", [], "figure '.977' in the text"),
        ("It costs 24 % of the bytes.", [], "figure '24 %' in the text"),
        ("It takes 6.8 KB of flash.", [], "figure '6.8 KB' in the text"),
        (SHORT * 3, ["--lines", "2"], "3 lines; at most 2"),
    ],
)
def test_a_bad_page_fails(tmp_path, page, options, complaint):
    done = check(tmp_path, page, *options)
    assert done.returncode == 1
    assert complaint in done.stdout


@pytest.mark.parametrize(
    "page",
    [
        f"# {LONG}\n{SHORT}",
        f"| a | {LONG.strip()} | 0.977 |\n\n{SHORT}",
        f"```sh\n{LONG}```\n{SHORT}",
        f"<!-- {LONG} -->\n{SHORT}",
        f"Read [this](https://example.org/{'a-' * 40}b) at `0.25 0.5 0.75`.",
        f"{SHORT}\nCommand: `python x.py`, {'and ' * 40}\n",
        "See arXiv:1503.02531, NNI 3.0 and Python 3.11 to 3.13.",
    ],
)
def test_code_tables_headings_and_links_do_not_count(tmp_path, page):
    done = check(tmp_path, page)
    assert done.returncode == 0, done.stdout


def test_a_misspelt_word_is_found(tmp_path):
    if not importlib.util.find_spec("codespell_lib") and "CI" not in os.environ:
        pytest.skip("codespell is not installed: pip install -e '.[dev]'")
    (tmp_path / "page.md").write_text("The tuner wil ask for teh next candidate.\n")
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "teh ==> the" in done.stdout
