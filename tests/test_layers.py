"""The floors of the house: a module imports only from floors strictly below its own."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = [
    {"cache_name", "errors"},
    {"labels", "settings", "tokenization"},
    {"noise"},
    {
        "adapters",
        "averaging",
        "batching",
        "checkpoints",
        "comparison",
        "configuration",
        "controllers",
        "crossentropy",
        "data",
        "gru",
        "latents",
        "metrics",
        "objectives",
        "posterior",
        "processes",
        "schedules",
        "tokenized",
        "value_cache",
    },
    {"parts"},
    {"bases"},
    {"modeling", "tokenizer_pair", "training_config"},
    {"collapse", "corpus", "extension", "loading", "meter", "trained"},
    {"codec", "fine_tuning", "likelihood", "precision"},
    {"evaluation", "paraphrases"},
    {"pipeline", "sweep"},
    {"report", "preparation", "resumption", "run_directory", "stepper"},
    {"training"},
    {"cli"},
    {"__init__"},
    {"recipes"},
]
FLOOR = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}
LIBRARY = sorted(path.stem for path in (ROOT / "textvae").glob("*.py"))
RECIPES = sorted((ROOT / "recipes").glob("*.py"))


def imported(path: Path) -> set[str]:
    """Modules of this project that a file imports, anywhere in it; `__init__` is the package, `recipes` any recipe."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} line {node.lineno}: write the import with its full name"
            submodules = {a.name for a in node.names} & set(LIBRARY) if node.module == "textvae" else set()
            names |= {f"textvae.{name}" for name in submodules}
            if len(submodules) < len(node.names):
                names.add(node.module)
    found = set()
    for name in names:
        package, _, rest = name.partition(".")
        if package == "textvae":
            found.add(rest.partition(".")[0] or "__init__")
        elif package in {"recipes", *(path.stem for path in RECIPES)}:
            found.add("recipes")
    return found


def test_every_module_has_a_floor():
    assert set(LIBRARY) | {"recipes"} == set(FLOOR)


@pytest.mark.parametrize("module", LIBRARY)
def test_a_module_imports_only_from_below(module):
    too_high = {name for name in imported(ROOT / "textvae" / f"{module}.py") if FLOOR[name] >= FLOOR[module]}
    assert not too_high, f"{module} (floor {FLOOR[module]}) imports {too_high}"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipe_imports_no_other_recipe(recipe):
    assert "recipes" not in imported(recipe)


def test_an_import_is_seen_wherever_it_stands(tmp_path):
    lines = [
        "import os, recipes.train",
        "def f():",
        "    from textvae import metrics, train",
        "    import textvae.cli as c",
    ]
    (tmp_path / "code.py").write_text("\n".join(lines))
    assert imported(tmp_path / "code.py") == {"metrics", "__init__", "cli", "recipes"}
