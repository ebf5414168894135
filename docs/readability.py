"""How readable the pages are: ``python docs/readability.py`` prints a line a page and the means of what newcomers read.

Counted are the sentences of running text and of lists; headings, tables, code, formulas and links' addresses are left
out. Flesch's reading ease is 206.835 - 1.015 words / sentence - 84.6 syllables / word; 60 to 70 is plain English, and a
paper of this field lies near 30. Syllables are counted as groups of vowels, as is usual where no dictionary is at hand.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LONGEST_LINE = 120


class Readability(NamedTuple):
    """What is counted of a page."""

    words: int
    sentences: int
    syllables: int
    long_lines: int
    has_example: bool

    @property
    def sentence_length(self):
        """Mean words of a sentence."""
        return self.words / max(1, self.sentences)

    @property
    def reading_ease(self):
        """Flesch's score."""
        if not self.words:
            return float("nan")
        return 206.835 - 1.015 * self.sentence_length - 84.6 * self.syllables / self.words


def prose(text):
    """The running text of a page of Markdown, a paragraph or item of a list a line."""
    text = re.sub(r"^(`{3,}|:{3,}).*?^\1`*:*\s*$", "", text, flags=re.DOTALL | re.MULTILINE)  # code, figures, menus
    text = re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"\{\w+\}`([^`<]*)(<[^`]*)?`", r"\1", text)
    text = re.sub(r"\$[^$\n]*\$|`[^`\n]*`", "it", text)
    parts, current = [], []
    for line in [*text.splitlines(), ""]:
        starts = re.match(r"\s*([*-]|\d+\.)\s+", line)
        if not line.strip() or starts or line.startswith(("#", "|", "    ", ">")):
            parts.append(" ".join(current))
            current = []
        if line.startswith(("#", "|", "    ")):
            continue
        current.append(line[starts.end() :] if starts else line.strip())
    return [re.sub(r"[*_]{1,2}", "", part) for part in [*parts, " ".join(current)] if part.strip()]


def syllables(word):
    """Groups of vowels, a silent e at the end left out; at least one."""
    groups = len(re.findall(r"[aeiouy]+", word.lower()))
    return max(1, groups - (word.lower().endswith("e") and not word.lower().endswith("le")))


def measure(path):
    """The readability of one page."""
    text = path.read_text(encoding="utf-8")
    sentences = [
        words
        for part in prose(text)
        for sentence in re.split(r"(?<=[.!?])\s+", part)
        if (words := re.findall(r"[A-Za-z][A-Za-z'-]*", sentence))
    ]
    words = [word for sentence in sentences for word in sentence]
    return Readability(
        len(words), len(sentences), sum(map(syllables, words)),
        sum(len(line) > LONGEST_LINE for line in text.splitlines()),
        bool(re.search(r"^```(python|sh)", text, re.MULTILINE)),
    )  # fmt: skip


def main(names):
    """Print the table, of all pages or of those that are named."""
    print(f"{'page':28}{'words':>7}{'a sentence':>12}{'ease':>7}{'long lines':>12}  example")
    for path in [page for page in PAGES if not names or page.stem in names]:
        page = measure(path)
        print(
            f"{path.name:28}{page.words:7}{page.sentence_length:12.1f}{page.reading_ease:7.0f}{page.long_lines:12}"
            f"  {'yes' if page.has_example else 'no'}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
