"""Imports point down only, and each heavy library has one home."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOUNS = {"records", "recipe", "errors"}
RULES = {"marks", "toolbox", "dialects", "episode", "rewards", "pairs", "metrics", "matching", "statistics", "alarms"}
HOMES = {
    "ray": {"actors"},
    "vllm": {"models"},
    "trl": {"training", "models"},
    "torch": {"training", "models", "actors"},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def library_files() -> list[tuple[str, Path]]:
    return [(p.relative_to(ROOT / "rayplay").parts[0].removesuffix(".py"), p) for p in (ROOT / "rayplay").rglob("*.py")]


def test_nouns_import_only_nouns():
    for part, path in library_files():
        if part in NOUNS:
            inner = {name.split(".")[1] for name in imports(path) if name.startswith("rayplay.")}
            assert inner <= NOUNS, path


def test_rules_import_only_nouns_and_rules_and_no_heavy_library():
    for part, path in library_files():
        if part in RULES:
            names = imports(path)
            assert {n.split(".")[1] for n in names if n.startswith("rayplay.")} <= NOUNS | RULES, path
            assert not {n.split(".")[0] for n in names} & {"ray", "torch", "vllm", "trl", "transformers"}, path


def test_heavy_libraries_stay_at_home():
    allowed = {"opening", "actors"}
    for part, path in library_files():
        for name in imports(path):
            library = name.split(".")[0]
            if library in HOMES and not (library == "ray" and part in allowed):
                assert part in HOMES[library], f"{path} imports {name}"


def test_tools_import_nothing_of_rayplay_but_the_toolbox():
    for path in (ROOT / "tools").rglob("*.py"):
        inner = {".".join(n.split(".")[:2]) for n in imports(path) if n.startswith("rayplay")}
        assert inner <= {"rayplay.toolbox", "rayplay.errors"}, path


def test_rayplay_never_imports_tools():
    for _, path in library_files():
        assert not any(name == "tools" or name.startswith("tools.") for name in imports(path)), path


def test_jobs_are_short():
    for path in (ROOT / "jobs").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 60, path
