"""Recipe -> what it starts, loads and asks that no sandbox holds, and which variables it hands over."""

import os
from typing import Any, NamedTuple

from rayplay.credentials import secret_names
from rayplay.errors import RunFolderError
from rayplay.recipe import McpTools, Recipe, ToolFunction

PROGRAMS = ("MCP server", "engine module", "remote code", "teacher")


class Trusted(NamedTuple):
    """One thing that a recipe trusts."""

    what: str  # of the kinds below
    name: str
    held: str  # by what it is held, "" = by nothing
    secrets: tuple[str, ...] = ()  # variables whose values it gets


def trusted_by(recipe: Recipe) -> list[Trusted]:
    """Everything that a recipe trusts, the held first."""
    found = [
        Trusted("tool", f"{entry.name} (JSON)" if isinstance(entry, ToolFunction) else entry, "held by the sandbox")
        for entry in recipe.tools
        if not isinstance(entry, McpTools)
    ]
    found.append(Trusted("model", recipe.model.name, "safetensors and JSON alone are read"))
    return [*found, *outside(recipe)]


def outside(recipe: Recipe) -> list[Trusted]:
    """What runs or is asked outside of every sandbox."""
    found = []
    for entry in recipe.tools:
        if isinstance(entry, McpTools):
            found.append(Trusted("MCP server", _address(entry), "", _variables(entry.mcp.model_dump())))
    if recipe.rollout.engine != "vllm":
        found.append(Trusted("engine module", recipe.rollout.engine, ""))
    if recipe.model.trust_remote_code:
        found.append(Trusted("remote code", recipe.model.name, ""))
    if recipe.judge:
        found.append(Trusted("judge", recipe.judge.base_url, "", (recipe.judge.api_key_env,)))
    for source in recipe.data.sources:
        if source.options.get("base_url"):
            found.append(Trusted("teacher", str(source.options["base_url"]), "", _variables(source.options)))
    return found + [Trusted("tracker", name, "") for name in recipe.training.trackers]


def check_consent(recipe: Recipe, where: str, kinds: tuple[str, ...] = PROGRAMS) -> None:
    """Refuse to start or ask what a run folder's own recipe names, where the user has not said that it may be.

    Raises:
        RunFolderError: Naming each thing, and the variables that it would get.
    """
    found = [item for item in outside(recipe) if item.what in kinds]
    if found:
        told = "; ".join(f"{t.what} {t.name}" + (f" with {', '.join(t.secrets)}" if t.secrets else "") for t in found)
        raise RunFolderError(
            f"the recipe in {where} would start or ask, outside of any sandbox: {told}; a run folder may come from "
            "anybody: look at it, and add --trust-run if it is yours"
        )


def is_set(names: tuple[str, ...]) -> dict[str, bool]:
    """Which variables are set here."""
    return {name: bool(os.environ.get(name)) for name in names}


def _address(entry: McpTools) -> str:
    return entry.mcp.url or " ".join([entry.mcp.command or "", *entry.mcp.args])


def _variables(settings: dict[str, Any]) -> tuple[str, ...]:
    from_env = {"mcp": settings} if "env" in settings else settings
    return tuple(sorted(secret_names(from_env)))
