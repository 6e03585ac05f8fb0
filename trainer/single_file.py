"""Modules of this package as one readable file that runs without it: an artifact's code."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

PACKAGE = __package__ or "trainer"


def single_file(entry: Path) -> bytes:
    """A module and the modules of this package that it imports, as one: each module's text as it
    stands, the imported before the importing, with one docstring and one list of imports.

    Raises ValueError for what cannot be joined: a name that two modules define, or an import of
    this package other than `from package.module import name` at the top."""
    order: list[_Module] = []
    _collect(entry, order)
    defined = Counter(name for module in order for name in module.names)
    twice = sorted(name for name, count in defined.items() if count > 1)
    if twice:
        raise ValueError(f"two modules define {', '.join(twice)}: {', '.join(m.name for m in order)}")
    first, *others = reversed(order)
    about = "\n\n".join([first.docstring, *(module.docstring for module in reversed(others))])
    head = f'"""{about}\n"""\n\nfrom __future__ import annotations\n\n{_imports(order)}'
    return "\n\n\n".join([head, *(module.body for module in order)]).encode() + b"\n"


class _Module:
    def __init__(self, path: Path) -> None:
        self.name = path.name
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        self.docstring = (ast.get_docstring(tree) or "").strip()
        self.imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        own = [node for node in ast.walk(tree) if _is_own(node)]
        for node in own:
            if node not in self.imports or not isinstance(node, ast.ImportFrom) or _renames(node):
                raise ValueError(f"{path}: an import of {PACKAGE} that cannot be joined: {ast.unparse(node)}")
        self.needs = [
            node.module.split(".")[1] for node in own if isinstance(node, ast.ImportFrom) and node.module
        ]
        self.names = _defined(tree)
        dropped = [tree.body[0], *self.imports] if self.docstring else self.imports
        gone = {line for node in dropped for line in range(node.lineno, (node.end_lineno or 0) + 1)}
        kept = [line for number, line in enumerate(source.splitlines(), 1) if number not in gone]
        self.body = "\n".join(kept).strip("\n")


def _collect(path: Path, order: list[_Module]) -> None:
    if any(module.name == path.name for module in order):
        return
    module = _Module(path)
    for name in module.needs:
        _collect(path.parent / f"{name}.py", order)
    order.append(module)


def _is_own(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.level > 0 or (node.module or "").split(".")[0] == PACKAGE
    return isinstance(node, ast.Import) and any(a.name.split(".")[0] == PACKAGE for a in node.names)


def _renames(node: ast.ImportFrom) -> bool:
    """Whether it is anything but `from package.module import name`."""
    return node.level > 0 or "." not in (node.module or "") or any(alias.asname for alias in node.names)


def _defined(tree: ast.Module) -> list[str]:
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return names


def _imports(modules: list[_Module]) -> str:
    """All imports of other packages, each once, sorted."""
    plain: set[str] = set()
    named: dict[str, set[str]] = {}
    for node in (node for module in modules for node in module.imports if not _is_own(node)):
        for alias in node.names:
            spelled = alias.name + (f" as {alias.asname}" if alias.asname else "")
            if isinstance(node, ast.Import):
                plain.add(f"import {spelled}")
            elif node.module != "__future__":
                named.setdefault(str(node.module), set()).add(spelled)
    groups: tuple[list[str], list[str]] = ([], [])  # the standard library's, then others
    for line in sorted(plain):
        groups[_is_foreign(line.split()[1])].append(line)
    for module, names in sorted(named.items()):
        groups[_is_foreign(module)].append(f"from {module} import {', '.join(sorted(names))}")
    return "\n\n".join("\n".join(group) for group in groups if group)


def _is_foreign(module: str) -> bool:
    return module.split(".")[0] not in sys.stdlib_module_names
