"""Checks that no crate has a cycle among its top-level modules.

A module depends on another if its code outside tests names it, or an item that the crate's root
re-exports from it. Needs Python 3.9 or later, without packages.
"""

import re
import sys
from pathlib import Path

NAME = re.compile(r"\w+")
MODULE = re.compile(r"^\s*(?:pub(?:\([a-z]+\))? )?mod (\w+);", re.M)
EXPORT = re.compile(
    r"pub(?:\([a-z]+\))? use (?:crate::|self::)?(\w+)::(\{[^}]*\}|\w+(?:::\w+)*(?: as \w+)?)"
)


def named(prefix, code):
    """The first names of all paths that start with `prefix`."""
    for match in re.finditer(prefix + r"::(\{[^;]*?\}|\w+)", code, re.S):
        group = match.group(1)
        yield from re.findall(r"(?:^|[{,])\s*(\w+)", group) if group.startswith("{") else [group]


def code_of(path):
    """The code of a file without its tests and comments."""
    code = path.read_text(encoding="utf-8").split("\n#[cfg(test)]")[0]
    return re.sub(r"//[^\n]*", "", code)


def dependencies(src):
    """The modules that each top-level module of a crate depends on."""
    root = next(path for path in (src / "lib.rs", src / "main.rs") if path.exists())
    text = root.read_text(encoding="utf-8")
    modules = set(MODULE.findall(text))
    exported = {}
    for module, names in EXPORT.findall(text):
        if module in modules:
            exported.update({name: module for name in NAME.findall(names)})
    graph = {}
    for module in modules:
        own = [src / f"{module}.rs", src / module / "mod.rs"]
        files = [path for path in own if path.exists()] + list((src / module).rglob("*.rs"))
        names = [name for path in files for name in named("crate", code_of(path))]
        names += [name for path in own if path.exists() for name in named("super", code_of(path))]
        targets = {name if name in modules else exported.get(name) for name in names}
        graph[module] = targets - {module, None}
    return graph


def cycle(graph):
    """A cycle of a graph, as a list of its nodes, or None."""
    done = set()

    def visit(node, path):
        if node in path:
            return path[path.index(node) :] + [node]
        if node in done:
            return None
        found = next(filter(None, (visit(n, path + [node]) for n in sorted(graph[node]))), None)
        done.add(node)
        return found

    return next(filter(None, (visit(node, []) for node in sorted(graph))), None)


def main():
    crates = sorted((Path(__file__).parent.parent / "crates").iterdir())
    bad = 0
    for crate in crates:
        found = cycle(dependencies(crate / "src"))
        if found:
            bad += 1
            print(f"{crate.name}: its modules depend on each other: {' -> '.join(found)}")
    if bad:
        sys.exit("Move what both sides need into a module of its own.")
    print(f"{len(crates)} crates have no cycle among their modules.")


if __name__ == "__main__":
    main()
