"""Recipe + output folder -> a Run whose actors are up: every check that can fail comes before the first write."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial

from rayplay.actors.cluster import Cluster, open_cluster
from rayplay.actors.pool import PoolSettings, RolloutPool
from rayplay.actors.rollout import Admission, EngineSettings
from rayplay.actors.teacher import RemoteTeacher
from rayplay.actors.tools import ToolHandle, call_tool, start_actors
from rayplay.bfcl_rounds import BfclRounds
from rayplay.checking import check, check_fit, mcp_servers, tool_modules
from rayplay.console import Say
from rayplay.data.prepare import LoadTeacher, Prepared, prepare
from rayplay.dialects import Speakable
from rayplay.episode import EpisodeLimits
from rayplay.errors import ResourceError, RunFolderError
from rayplay.folder_check import check_own
from rayplay.manifest import check_same_recipe, make_manifest
from rayplay.matching import judged_by
from rayplay.playing import Player, judge_of
from rayplay.recipe import Recipe
from rayplay.records import Demonstration, Json, Status, Task, ToolCall, ToolResult, ToolSpec, digest
from rayplay.run import Run
from rayplay.sandbox import Limits
from rayplay.store import PRIVATE_FOLDER, RunFolder, file_hash, read_lines, write_lines


@contextmanager
def open_run(recipe: Recipe, folder: RunFolder, say: Say) -> Iterator[Run]:
    """Check, write the manifest, start the actors; end them all when the block is left, however it is left."""
    found, specs, dialect = check(recipe)
    folder.check_writable()
    check_own(folder.path)
    if folder.manifest_path.is_file():  # else it is claimed with the first write
        folder.claim()
    with ExitStack() as stack:
        with say.stage("start", "Ray, tool actors and engines", 3, "under a minute") as bar:
            cluster = stack.enter_context(open_recipe_cluster(recipe))
            bar.advance()
            manifest = make_manifest(recipe, found)
            check_same_recipe(folder, manifest)
            tools = start_tool_actors(recipe)
            speakable = Speakable(dialect)
            prepared = load_or_make_tasks(recipe, folder, specs, tools[0], teacher_loader(recipe, found), speakable)
            for problem, count in speakable.left_out.items():
                say.line(f"{'':<10} {count} rows left out: {problem}")
            begin(folder, manifest, prepared, say)
            logs = folder.path / "logs"
            logs.mkdir(PRIVATE_FOLDER, exist_ok=True)
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
        player = Player(pool, recipe.rewards, judge_of(recipe, folder.path), say)
        run = Run(recipe, folder, say, dialect, found["model_dir"], player, *prepared)
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


def teacher_loader(recipe: Recipe, found: Json) -> Callable[[str | None], RemoteTeacher]:
    """Starts teachers by their model's name, each in a rollout worker as the recipe describes them."""
    return partial(RemoteTeacher, *pool_settings(recipe, found))


def load_or_make_tasks(
    recipe: Recipe,
    folder: RunFolder,
    specs: tuple[ToolSpec, ...],
    tools: ToolHandle,
    load_teacher: LoadTeacher,
    speakable: Callable[[Task | Demonstration], bool] = lambda record: True,
) -> Prepared:
    """The tasks as they were first used, or made now: what a resumed run learns from never changes.

    Rows with a tool that is not `speakable` in the model's dialect are left out.

    Raises:
        RunFolderError: A task file is damaged, and what the recipe makes now is not what it held.
    """
    if not folder.started and not folder.stages():
        return _only(speakable, _make_tasks(recipe, specs, tools, load_teacher))
    hashes = folder.manifest().get("tasks", {}) if folder.started else {}
    paths = {name: folder.path / "tasks" / f"{name}.jsonl" for name in Prepared._fields}
    damaged = [name for name, sha in hashes.items() if file_hash(paths[name]) != sha]
    if damaged:
        made = _only(speakable, _make_tasks(recipe, specs, tools, load_teacher))
        for name in damaged:
            if write_lines(paths[name], getattr(made, name)) != hashes[name]:
                raise RunFolderError(
                    f"{paths[name]} was damaged, and its sources now give other rows; start anew in another folder"
                )
    kinds = {"train": Task, "held_out": Task, "demonstrations": Demonstration}
    return Prepared(**{name: read_lines(path, kinds[name]) for name, path in paths.items()})


def _only(speakable: Callable[[Task | Demonstration], bool], prepared: Prepared) -> Prepared:
    return Prepared(*(list(filter(speakable, records)) for records in prepared))


def _make_tasks(recipe: Recipe, specs: tuple[ToolSpec, ...], tools: ToolHandle, load_teacher: LoadTeacher) -> Prepared:
    def execute(name: str, arguments: Json, state: str | None = None) -> ToolResult:
        call = ToolCall(call_id=digest([name, arguments]), name=name, arguments=arguments)
        result = call_tool(tools, call, state)
        if result.status is Status.UNAVAILABLE:
            raise ResourceError(f"tool {name!r} was unavailable while labels were made; run the same command again")
        return result

    training = recipe.training
    warm = training.warm_start.demonstrations if training.warm_start else 0
    made = prepare(recipe.data, specs, execute, seed=recipe.seed, demonstrations=warm, load_teacher=load_teacher)
    ruled = {name: [judged_by(task, recipe.matching) for task in getattr(made, name)] for name in ("train", "held_out")}
    return made._replace(**ruled)
