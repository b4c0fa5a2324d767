"""Checks that pages of Markdown read easily: short sentences, figures in tables, few lines.

    python .ci/prose.py --mean 16 --lines 150 README.md
    python .ci/prose.py --mean 18 docs

Code, tables, headings and the addresses of links don't count. Exits with 1 when a page fails.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1[^\n]*$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
# Lines that hold no prose: headings, rows of tables, directives of mkdocstrings, what one is given.
_OTHER = re.compile(r"^ *(#|\||:::|!!!|Command:|<)")
_ITEM = re.compile(r"^ *([-*+]|\d+\.) +")
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])")
_INLINE = re.compile(r"(`+)(?!`).+?\1", re.DOTALL)
_END = re.compile(r"(?<=[.!?])[\"')*\]]*\s+")
_WORD = re.compile(r"[\w@][\w'’@./+-]*")
# A percentage, a deviation, a fraction: measured figures, which belong in a table.
_FIGURE = re.compile(
    r"±\s?\d|[\d.]*\d\s?%|\d+\.\d+ (?:points|times|KB|ms|s)\b|(?<![\w.:])\d*\.\d{2,}(?![\w.])"
)
_VERSION = re.compile(r"Python \d\.\d+(?: to \d\.\d+)?")


class Sentence(NamedTuple):
    """One sentence of a page, without its markup, and the line that its paragraph begins on."""

    line: int
    text: str

    @property
    def words(self) -> int:
        """How many words it has; a piece of code is one."""
        return len(_WORD.findall(self.text))

    @property
    def whole(self) -> bool:
        """False for an entry of a list that is no sentence."""
        return self.text.rstrip("\"')*")[-1:] in {".", "!", "?", ":"}


def _blank(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")


def paragraphs(page: str) -> Iterator[Sentence]:
    """The paragraphs and list entries of a page, without code, tables and headings."""
    lines: list[str] = []
    start = 1
    for number, line in enumerate(_COMMENT.sub(_blank, _FENCE.sub(_blank, page)).split("\n"), 1):
        other = _OTHER.match(line) or not line.strip()
        if lines and (other or _ITEM.match(line)):
            yield Sentence(start, " ".join(lines))
            lines = []
        if other:
            continue
        if not lines:
            start = number
        lines.append(_ITEM.sub("", line).strip())
    if lines:
        yield Sentence(start, " ".join(lines))


def sentences(page: str) -> list[Sentence]:
    """The sentences of a page; code within one is the word `@`."""
    found = []
    for line, text in paragraphs(page):
        plain = _INLINE.sub("@", _VERSION.sub("Python", text))
        plain = _LINK.sub(r"\1", _IMAGE.sub("", plain))
        found += [Sentence(line, part.strip()) for part in _END.split(plain) if part.strip()]
    return found


def complaints(page: str, mean: float, longest: int, lines: int | None) -> list[str]:
    """What is wrong with a page, each with its line.

    Args:
        page: its Markdown.
        mean: words that its sentences may have on average.
        longest: words that a single one may have.
        lines: lines that the page may have; None for any number.
    """
    wrong = []
    found = sentences(page)
    counts = [sentence.words for sentence in found if sentence.whole]
    if counts and sum(counts) / len(counts) > mean:
        average = sum(counts) / len(counts)
        wrong.append(
            f"1: a sentence has {average:.1f} words on average; at most {mean:g}: cut some"
        )
    for sentence in found:
        if sentence.words > longest:
            wrong.append(
                f"{sentence.line}: {sentence.words} words in one sentence; at most {longest}: "
                f"split {sentence.text[:60]!r}"
            )
        if figure := _FIGURE.search(sentence.text):
            wrong.append(
                f"{sentence.line}: figure {figure[0]!r} in the text; put it in a table: "
                f"{sentence.text[:60]!r}"
            )
    if lines is not None and len(page.splitlines()) > lines:
        wrong.append(f"1: {len(page.splitlines())} lines; at most {lines}: move some elsewhere")
    return wrong


def main() -> int:
    """Checks the pages named on the command line; a folder stands for all that it holds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mean", type=float, required=True, help="words a sentence, on average")
    parser.add_argument("--longest", type=int, default=32, help="words of a single sentence")
    parser.add_argument("--lines", type=int, help="lines of a page")
    parser.add_argument("paths", nargs="+", type=Path)
    args = parser.parse_args()
    pages = [p for path in args.paths for p in (sorted(path.rglob("*.md")) or [path])]
    failed = False
    for path in pages:
        page = path.read_text(encoding="utf-8")
        for wrong in complaints(page, args.mean, args.longest, args.lines):
            print(f"{path}:{wrong}")
            failed = True
    counts = [s.words for p in pages for s in sentences(p.read_text("utf-8")) if s.whole]
    average = sum(counts) / max(1, len(counts))
    print(f"{len(pages)} pages, {len(counts)} sentences of {average:.1f} words on average")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
