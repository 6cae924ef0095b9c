"""What may import what: Ray stays behind `rayplay/actors`, the rules layer behind nothing."""

import ast
from pathlib import Path

import rayplay

ROOT = Path(rayplay.__file__).parent
RULES = ("records", "episode", "rewards", "pairs", "metrics", "matching", "statistics", "alarms")


def imported(path: Path) -> set[str]:
    """First two parts of every module that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {".".join(name.split(".")[:2]) for name in found}


def test_only_actors_import_ray():
    for path in ROOT.rglob("*.py"):
        names = {name.split(".")[0] for name in imported(path)}
        assert "ray" not in names or path.is_relative_to(ROOT / "actors"), path


def test_rules_know_neither_engines_nor_actors():
    heavy = {"ray", "torch", "vllm", "trl", "rayplay.actors", "rayplay.models", "rayplay.training", "rayplay.sandbox"}
    for name in RULES:
        found = imported(ROOT / f"{name}.py")
        assert not {n for n in found if n in heavy or n.split(".")[0] in heavy}, name
