#!/usr/bin/env python3
"""Checks the language of documents, comments, messages and names against .ci/banned_words.txt.

Prints `file:line: "words" -> replacement` for every hit and exits with 1 if there is one. Without arguments it
reads all files of the repository; with arguments, those files. A document leaves a part out between the lines
`<!-- language-check: off -->` and `<!-- language-check: on -->`.
"""

import bisect
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / ".ci" / "banned_words.txt"
SECTIONS = ("text", "sentences", "openings", "headings", "names")

RUST = re.compile(
    r"""(?P<comment>//[^\n]*)
      | (?P<raw>\bb?r(?P<hashes>\#*)".*?"(?P=hashes))
      | (?P<string>\bb?"(?:\\.|[^"\\])*"|"(?:\\.|[^"\\])*")
      | (?P<char>b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^'\\\n])')""",
    re.DOTALL | re.VERBOSE,
)
DECLARED = re.compile(
    r"\b(?:struct|enum|trait|type|fn|mod|const|static|union)\s+([A-Za-z_]\w*)"
)
SKIPPED = re.compile(r"`[^`]*`|\]\([^)]*\)|<[^>\s][^>]*>|https?://\S+")


def read_rules():
    """The compiled rules by section: a list of (pattern, replacement) each."""
    rules = {section: [] for section in SECTIONS}
    section = None
    for number, line in enumerate(RULES.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line.strip("[]")
            continue
        pattern, arrow, use = line.partition(" => ")
        if not arrow or section not in rules:
            sys.exit(f"{RULES}:{number}: expected PATTERN => REPLACEMENT in a known section")
        flags = re.IGNORECASE if section in ("text", "headings") else 0
        whole = rf"^(?:{pattern})$" if section == "names" else pattern
        if section in ("sentences", "openings", "headings"):
            whole = rf"(?:{pattern})\b"
        rules[section].append((re.compile(whole, flags), use))
    return rules


class Text:
    """Prose joined over lines, which knows the line of every character."""

    def __init__(self):
        self.text, self.starts, self.lines = "", [], []

    def add(self, line, number):
        self.starts.append(len(self.text))
        self.lines.append(number)
        # What is no prose keeps its length, so that places stay right.
        self.text += SKIPPED.sub(lambda m: "`" + "_" * (len(m.group()) - 2) + "`", line) + " "

    def line_at(self, place):
        return self.lines[bisect.bisect_right(self.starts, place) - 1]


class Checker:
    def __init__(self):
        self.rules = read_rules()
        self.hits = []

    def hit(self, path, line, words, use):
        self.hits.append((str(path), line, words.strip(), use))

    def prose(self, path, text, opening=False):
        """Checks a paragraph."""
        for pattern, use in self.rules["text"]:
            for found in pattern.finditer(text.text):
                self.hit(path, text.line_at(found.start()), found.group(), use)
        for begin, sentence in sentences(text.text):
            if "?" in sentence:
                continue
            for pattern, use in self.rules["sentences"]:
                # The opening of a doc comment has rules of its own.
                if pattern.match(sentence) and not (opening and begin == 0):
                    self.hit(path, text.line_at(begin), first_words(sentence), use)
        if opening:
            start = len(text.text) - len(text.text.lstrip())
            for pattern, use in self.rules["openings"]:
                if pattern.match(text.text.lstrip()) and "?" not in text.text:
                    self.hit(path, text.line_at(start), first_words(text.text.lstrip()), use)

    def heading(self, path, number, heading):
        for pattern, use in self.rules["headings"]:
            if pattern.match(heading.strip()):
                self.hit(path, number, first_words(heading.strip()), use)

    def name(self, path, number, name):
        for pattern, use in self.rules["names"]:
            if pattern.match(name):
                self.hit(path, number, name, use)

    def rust(self, path, source):
        line_of = line_counter(source)
        code, block, last = [], None, None
        for found in RUST.finditer(source):
            number = line_of(found.start())
            code.append((source[last or 0 : found.start()], line_of(last or 0)))
            last = found.end()
            if found.group("comment"):
                block = self.comment(path, source, found, number, block)
                continue
            self.close(path, block)
            block = None
            literal = found.group("string")
            if literal and " " in literal:
                self.message(path, literal, number)
        self.close(path, block)
        code.append((source[last or 0 :], line_of(last or 0)))
        for piece, start in code:
            for found in DECLARED.finditer(piece):
                self.name(path, start + piece.count("\n", 0, found.start(1)), found.group(1))
        self.name(path, 1, path.stem)

    def comment(self, path, source, found, number, block):
        """Adds a comment's line to the block that it continues."""
        kind = re.match(r"//[/!]?", found.group("comment")).group()
        line = found.group("comment")[len(kind) :].strip()
        alone = source[source.rfind("\n", 0, found.start()) + 1 : found.start()].strip() == ""
        follows = block and alone and block["kind"] == kind and block["last"] + 1 == number
        if not follows:
            self.close(path, block)
            block = {"kind": kind, "text": Text(), "code": False, "first": kind != "//", "last": number}
        block["last"] = number
        if line.startswith("```"):
            block["code"] = not block["code"]
        elif line == "" or line.startswith(("#", "* ", "- ", "|")) or block["code"]:
            self.paragraph(path, block)
            if line.startswith(("* ", "- ")) and not block["code"]:
                block["text"].add(line[2:], number)
        else:
            block["text"].add(line, number)
        return block

    def paragraph(self, path, block):
        if block["text"].text.strip():
            self.prose(path, block["text"], opening=block["first"])
            block["first"] = False
        block["text"] = Text()

    def close(self, path, block):
        if block:
            self.paragraph(path, block)

    def message(self, path, literal, number):
        text = Text()
        for index, line in enumerate(literal.strip('b"').split("\n")):
            text.add(line.strip().removesuffix("\\"), number + index)
        self.prose(path, text)

    def markdown(self, path, source):
        fence = off = False
        text = Text()
        lines = source.splitlines()
        for number, line in enumerate(lines, 1):
            if "language-check: o" in line:
                off = "off" in line
            fenced = line.lstrip().startswith("```")
            fence ^= fenced
            bare = line.strip()
            starts = bare.startswith(("#", "* ", "- ", "|", "!", "<")) or re.match(r"\d+\. ", bare)
            if fence or fenced or off or not bare or starts:
                self.prose(path, text)
                text = Text()
            if fence or fenced or off or not bare:
                continue
            if bare.startswith("#"):
                self.heading(path, number, bare.lstrip("#"))
                text.add(bare.lstrip("# "), number)
                self.prose(path, text)
                text = Text()
            elif bare.startswith("|"):
                cells = [cell.strip() for cell in bare.strip("|").split("|")]
                header = number < len(lines) and re.match(r"\s*\|[\s:|-]+\|\s*$", lines[number])
                for cell in cells:
                    if header:
                        self.heading(path, number, cell)
                    row = Text()
                    row.add(cell, number)
                    self.prose(path, row)
            else:
                text.add(re.sub(r"^([*-]|\d+\.) ", "", bare), number)
        self.prose(path, text)

    def recipe(self, path, source):
        text = Text()
        for number, line in enumerate(source.splitlines(), 1):
            _, hash_, comment = line.partition("#")
            if hash_ and line.lstrip().startswith("#") and comment.strip():
                if not comment.strip().startswith(("multimae ", "curl ", "--")):
                    text.add(comment.strip(), number)
                    continue
            self.prose(path, text)
            text = Text()
        self.prose(path, text)

    def file(self, path):
        source = (ROOT / path).read_text(encoding="utf-8")
        if path.suffix == ".rs":
            self.rust(path, source)
        elif path.suffix == ".md":
            self.markdown(path, source)
        else:
            self.recipe(path, source)


def sentences(text):
    """The sentences of a paragraph with their places."""
    begin = 0
    for end in re.finditer(r"[.!?:;]\s+|$", text):
        sentence = text[begin : end.end()]
        stripped = sentence.lstrip("*_ ")
        if stripped.strip() and (begin == 0 or text[begin - 2] in ".!?"):
            yield begin + len(sentence) - len(stripped), stripped
        begin = end.end()


def first_words(text, count=5):
    return " ".join(text.split()[:count])


def line_counter(source):
    """A function from a place in a text to its line, from 1."""
    ends = [found.start() for found in re.finditer("\n", source)]
    return lambda place: bisect.bisect_left(ends, place) + 1


def wanted(path):
    if path.suffix == ".rs":
        return True
    if path.suffix == ".md":
        return "golden" not in path.parts
    return path.suffix == ".yaml" and path.parts[0] == "recipes"


def main(arguments):
    if arguments:
        paths = [Path(argument).resolve().relative_to(ROOT) for argument in arguments]
    else:
        # Files that are tracked, and new ones that are not ignored.
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        paths = [Path(name) for name in listed.stdout.split("\0") if name]
    checker = Checker()
    for path in sorted(set(paths)):
        if wanted(path) and (ROOT / path).is_file():
            checker.file(path)
    for path, line, words, use in sorted(set(checker.hits)):
        print(f'{path}:{line}: "{words}" -> {use}')
    if checker.hits:
        print(f"{len(set(checker.hits))} places; see CONTRIBUTING.md, Language", file=sys.stderr)
    return 1 if checker.hits else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
