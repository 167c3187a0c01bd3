"""The floors of the house: a room imports only from rooms before it, and no module stands in a circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [
    "errors",
    "files",
    "config_fields",
    "cores",
    "processes",
    "objectives",
    "latents",
    "data",
    "modeling",
    "evaluation",
    "pipeline",
    "report",
    "training",
    "sweeps",
    "__init__",
    "cli",
    "__main__",
    "recipes",
]
FILES = sorted([*(ROOT / "textvae").rglob("*.py"), *(ROOT / "recipes").glob("*.py")])
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


def floor(module: str) -> int:
    package, _, rest = module.partition(".")
    return FLOORS.index(package if package == "recipes" else rest.partition(".")[0] or "__init__")


def imported(path: Path) -> set[str]:
    """Modules of this project that a file imports, wherever in it; the most specific that exist."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} line {node.lineno}: write the import with its full name"
            names |= {max(node.module, f"{node.module}.{a.name}", key=lambda n: (n in MODULES, n)) for a in node.names}
    return {name for name in names if name.partition(".")[0] in ("textvae", "recipes")}


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_from_rooms_before_it(module):
    too_high = {name for name in imported(MODULES[module]) if floor(name) > floor(module)}
    assert not too_high, f"{module} imports {too_high}"


def test_no_module_stands_in_a_circle():
    inside = {name: imported(path) for name, path in MODULES.items() if path.name != "__init__.py"}
    assert all(names <= MODULES.keys() for names in inside.values())
    list(TopologicalSorter(inside).static_order())  # raises CycleError


def test_a_recipe_imports_no_other_recipe():
    assert not [
        name
        for name in MODULES
        if name.startswith("recipes")
        for n in imported(MODULES[name])
        if n in MODULES and n.startswith("recipes")
    ]


def test_an_import_is_seen_wherever_it_stands(tmp_path):
    lines = [
        "import os, recipes.train",
        "def f():",
        "    from textvae import train",
        "    from textvae.evaluation import metrics",
        "    import textvae.cli.main as c",
    ]
    (tmp_path / "code.py").write_text("\n".join(lines))
    assert imported(tmp_path / "code.py") == {
        "textvae.evaluation.metrics",
        "textvae",
        "textvae.cli.main",
        "recipes.train",
    }
