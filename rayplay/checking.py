"""Recipe -> everything that would stop its run, found before Ray is started or a file is written."""

import os
from pathlib import Path
from typing import NamedTuple

from rayplay.actors.cluster import Cluster, check_room
from rayplay.actors.training import SHARED_CPU
from rayplay.bfcl_rounds import check_bfcl
from rayplay.credentials import with_secrets
from rayplay.dialects import Dialect
from rayplay.errors import ModelError, RecipeError, ResourceError, ToolboxError
from rayplay.mcp_tools import McpToolbox
from rayplay.models.device import choose_dtype, count_gpus, usable_cores
from rayplay.models.resolve import resolve_model
from rayplay.models.tokenizers import load_dialect
from rayplay.playing import judge_of
from rayplay.recipe import McpTools, Recipe, ToolFunction
from rayplay.records import Json, Message, ToolSpec
from rayplay.rewards import find_rewards
from rayplay.sandbox import Sandbox, require_level
from rayplay.tool_files import tools_in
from rayplay.training.checks import check_packages, check_training
from rayplay.training.settings import settings_for


class Checked(NamedTuple):
    """What `check` found: facts for people and for the manifest, the tools, and how the model speaks."""

    facts: Json
    specs: tuple[ToolSpec, ...]
    dialect: Dialect


def check(recipe: Recipe) -> Checked:
    """Everything about a recipe that can be known without starting Ray or writing a file.

    Raises:
        RayplayError: The first thing that would stop the run, named.
    """
    joins = recipe.resources.address or os.environ.get("RAY_ADDRESS")
    isolation, specs = _check_without_model(recipe, None if joins else _cluster_here(recipe))
    model_dir, dialect = _check_model(recipe, specs)
    facts = {
        "model_dir": str(model_dir),
        "dtype": choose_dtype(recipe.model.torch_dtype, gpu=recipe.rollout.gpus_per_worker > 0),
        "tools": [spec.name for spec in specs],
        "isolation": isolation,
    }
    return Checked(facts, specs, dialect)


def check_elsewhere(recipe: Recipe, have: Cluster) -> Json:
    """`check` for a cluster that is not here; a model that is not here either is said to be unchecked.

    Raises:
        RayplayError: The first thing that would stop the run there, as far as it can be seen from here.
    """
    isolation, specs = _check_without_model(recipe, have)
    facts: Json = {"cluster": {"cpus": have.cpus, "gpus": have.gpus}, "tools": [spec.name for spec in specs]}
    try:
        resolve_model(recipe.model.name, recipe.model.revision)
    except ModelError as error:
        return facts | {"isolation": isolation, "not_checked": f"the model, which is not here: {error}"}
    _check_model(recipe, specs)
    return facts | {"isolation": isolation}


def _check_without_model(recipe: Recipe, have: Cluster | None) -> tuple[Json, tuple[ToolSpec, ...]]:
    """Isolation report and tools; `have` is where the run would take place, None = not known yet."""
    find_rewards(recipe.rewards, judge_of(recipe, Path()))
    if recipe.evaluation.bfcl:
        check_bfcl(recipe.evaluation.bfcl)
    if recipe.data.preferences and recipe.training.method != "dpo":
        raise RecipeError(
            f"data.preferences gives pairs, which training.method {recipe.training.method!r} does not take; use 'dpo'"
        )
    if not recipe.tools:
        raise RecipeError('tools is empty; name at least one, for example "tools": ["tools.calculator"]')
    for training in recipe.trainings():
        check_packages(settings_for(training, recipe.model, recipe.seed))
    if have:
        check_fit(recipe, have)
    isolation = require_level(recipe.sandbox.require)
    return isolation.model_dump(mode="json"), load_tools(recipe)


def _check_model(recipe: Recipe, specs: tuple[ToolSpec, ...]) -> tuple[Path, Dialect]:
    """The model's folder, and how it speaks; it renders the tools, and every training phase can begin with it."""
    model_dir = resolve_model(recipe.model.name, recipe.model.revision)
    dialect = load_dialect(model_dir, recipe.model, specs)
    shortest = min(len(dialect.render([Message(role="user", content="?")], [spec])) for spec in specs)
    if shortest >= recipe.model.max_length:
        raise RecipeError(
            f"model.max_length is {recipe.model.max_length}, but one tool's prompt takes {shortest} tokens; raise it"
        )
    if recipe.rollout.constrained:
        from rayplay.models.vllm_parser import call_grammar  # vLLM takes seconds to import

        call_grammar(dialect.family.vllm_parser, dialect.tokenizer, specs)
    for training in recipe.trainings():
        check_training(model_dir, settings_for(training, recipe.model, recipe.seed))
    return model_dir, dialect


def _cluster_here(recipe: Recipe) -> Cluster:
    """What a local Ray would have."""
    cpus, gpus = recipe.resources.num_cpus, recipe.resources.num_gpus
    return Cluster(cpus or len(usable_cores()), count_gpus() if gpus is None else gpus, nodes=1, local=True)


def check_fit(recipe: Recipe, have: Cluster) -> None:
    """Samplers hold what they reserve while training runs, so both must fit at the same time.

    Raises:
        ResourceError: They do not.
    """
    sections = {"rollout": recipe.rollout, "training": recipe.training}
    for name, section in sections.items():
        check_room(
            name,
            num_workers=section.num_workers,
            cpus=section.cpus_per_worker,
            gpus=section.gpus_per_worker,
            have=have,
        )
    for key, total, unit in (("cpus_per_worker", have.cpus, "cores"), ("gpus_per_worker", have.gpus, "GPUs")):
        least = {"rollout": 0.0, "training": SHARED_CPU if key == "cpus_per_worker" else 0.0}
        held = {name: part.num_workers * (getattr(part, key) or least[name]) for name, part in sections.items()}
        if sum(held.values()) > total:
            raise ResourceError(
                f"rollout holds {held['rollout']:g} {unit} and training {held['training']:g} at the same time, but "
                f"there are {total:g}; lower rollout.{key}, training.{key} or a num_workers"
            )


def tool_modules(recipe: Recipe) -> tuple[str, ...]:
    """Import names of the files that hold the recipe's tools; a JSON definition is matched by name."""
    names = [defining_module(entry.name) if isinstance(entry, ToolFunction) else entry for entry in recipe.tools
             if not isinstance(entry, McpTools)]  # fmt: skip
    return tuple(dict.fromkeys(names))


def defining_module(name: str) -> str:
    """Import name of the file in tools/ that implements a tool; tools/NAME.py where none says so."""
    folder = Path("tools")
    return (tools_in(folder) if folder.is_dir() else {}).get(name, f"tools.{name}")


def mcp_servers(recipe: Recipe) -> list[Json]:
    """The recipe's MCP servers; `with_secrets` makes arguments of `McpToolbox` of each."""
    return [entry.mcp.model_dump() for entry in recipe.tools if isinstance(entry, McpTools)]


def load_tools(recipe: Recipe) -> tuple[ToolSpec, ...]:
    """The tools of a recipe, described by a sandboxed process.

    Raises:
        SandboxError: The level that the recipe requires does not hold here.
        ToolboxError: A file cannot be loaded, two tools share a name, or one needs what the recipe does not allow.
    """
    with Sandbox(tool_modules(recipe), require=recipe.sandbox.require, size=1) as sandbox:
        specs = list(sandbox.describe())
    for server in mcp_servers(recipe):
        with McpToolbox(**with_secrets(server)) as box:
            specs += box.describe()
    whole = {entry for entry in recipe.tools if isinstance(entry, str)}
    defined = {entry.name: entry for entry in recipe.tools if isinstance(entry, ToolFunction)}
    found = []
    for spec in specs:
        own = defined.get(spec.name)
        if own is None and spec.module not in whole and not spec.module.startswith("mcp:"):
            continue  # a neighbour of a defined tool in its file
        if own is not None:
            spec = spec.model_copy(update={"description": own.description, "parameters": own.parameters})
        missing = set(spec.needs) - set(recipe.sandbox.allow)
        if missing:
            raise ToolboxError(
                f"tool {spec.name!r} needs {', '.join(missing)}; add it to sandbox.allow or drop the tool"
            )
        found.append(spec)
    names = [spec.name for spec in found]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled:
        raise ToolboxError(f"two tools are named {doubled!r}; a model could not tell them apart")
    return tuple(found)
