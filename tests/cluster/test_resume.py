"""Killed at every crash point, damaged in every file, out of disk: the same command ends with the same run.

The loop runs in a forked process without Ray (tests.inprocess); tests/cluster kills real workers and real drivers.
"""

import fcntl
import hashlib
import json
import multiprocessing
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from rayplay import store
from rayplay.actors.cluster import open_cluster
from rayplay.actors.rollout import GroupPlan
from rayplay.actors.shards import over_shards
from rayplay.alone import pair_again, score_again
from rayplay.errors import RunFolderError
from rayplay.models.micro import save_chat_model
from rayplay.recipe import Pairs, Recipe
from rayplay.records import Pair, Trajectory
from rayplay.store import RunFolder, Stage, read_lines, stage_order
from tests import inprocess

FORK = multiprocessing.get_context("fork")
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ROUNDS = ("round-001", "round-002")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    save_chat_model(folder / "model")
    return folder


@pytest.fixture(scope="module")
def recipe(workspace) -> Recipe:
    return Recipe.model_validate_json(json.dumps(recipe_lines(workspace)))


def recipe_lines(workspace: Path) -> dict:
    return {
        "seed": 5,
        "model": {"name": str(workspace / "model"), "max_length": 4096},
        "data": {
            "sources": [{"source": "templates", "kinds": {"one_call": 1.0}}],
            "train_tasks": 40,
            "held_out_tasks": 4,
        },
        "tools": ["tools.calculator", "tools.weather"],
        "rollout": {
            "engine": "tests.inprocess:make_scripted",
            "tasks_per_round": 10,
            "samples_per_task": 4,
            "max_new_tokens": 400,
        },
        "pairs": {"min_margin": 0.05, "demonstrations": "unsolved_groups"},
        "training": {"rounds": 2, "warm_start": {"demonstrations": 8}},
    }


def attempt(recipe: Recipe, workspace: Path, folder: Path, fault: str = "", record: Path | None = None) -> int:
    """Exit code of a forked process that plays the run: negative = ended by that signal."""

    def work() -> None:
        inprocess.install(workspace / "model")
        if record:
            fired = store.fault_point
            store.fault_point = lambda name: (record.open("a").write(f"{name}\n"), fired(name))
        try:
            said = inprocess.play_run(recipe, folder, fault)
        except RunFolderError as error:
            Path(f"{folder}.said").write_text(str(error))
            sys.exit(2)
        Path(f"{folder}.said").write_text(said)

    process = FORK.Process(target=work)
    process.start()
    process.join(120)
    if process.exitcode is None:
        process.kill()
    return process.exitcode


@pytest.fixture(scope="module")
def unbroken(workspace, recipe) -> Path:
    folder = workspace / "unbroken"
    assert attempt(recipe, workspace, folder, record=workspace / "points") == 0
    return folder


def pairs_of(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name / "pairs.jsonl").read_bytes()).hexdigest() for name in ROUNDS}


def assert_same_run(folder: Path, unbroken: Path) -> None:
    for name in ROUNDS:
        plans = read_lines(folder / name / "plan.jsonl", GroupPlan)
        planned = {f"{plan.group}/{k}" for plan in plans for k in range(len(plan.seeds))}
        sealed = Counter(t.sample_id for t in Stage(folder / name).sealed(Trajectory))
        assert set(sealed) == planned and set(sealed.values()) == {1}
    assert pairs_of(folder) == pairs_of(unbroken)
    assert not list(folder.rglob("*.tmp"))


def test_a_kill_at_every_crash_point_is_made_good(workspace, recipe, unbroken):
    points = [p for p in dict.fromkeys((workspace / "points").read_text().split()) if not p.startswith("round-002:")]
    assert len(points) > 40  # those of the second round are those of the first
    for number, point in enumerate(points):
        folder = workspace / f"killed-{number}"
        assert attempt(recipe, workspace, folder, point) == -signal.SIGKILL, point  # the fault really fired
        assert attempt(recipe, workspace, folder) == 0, (point, Path(f"{folder}.said").read_text())
        assert_same_run(folder, unbroken)
        shutil.rmtree(folder)


def test_a_flipped_byte_in_any_file_is_found_and_made_good(workspace, recipe, unbroken):
    names = sorted(str(p.relative_to(unbroken)) for p in unbroken.rglob("*") if p.is_file())
    kept = [n for n in names if not n.startswith(("logs/", "report."))]
    assert len(kept) > 40
    for number, name in enumerate(kept):
        folder = workspace / f"flipped-{number}"
        shutil.copytree(unbroken, folder)
        (folder / "report.json").unlink()
        content = bytearray((folder / name).read_bytes())
        if not content:
            continue
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
        code = attempt(recipe, workspace, folder)
        assert code == 0, (name, Path(f"{folder}.said").read_text())
        assert_same_run(folder, unbroken)
        shutil.rmtree(folder)


@pytest.mark.parametrize("cut", ["plan.jsonl", "demonstrations.jsonl", "adapter/adapter_model.safetensors"])
def test_a_damaged_file_of_an_uncommitted_round_is_not_loaded(workspace, recipe, unbroken, cut):
    folder = workspace / f"cut-{Path(cut).stem}"
    assert attempt(recipe, workspace, folder, "round-002:before_commit") == -signal.SIGKILL
    content = (folder / "round-002" / cut).read_bytes()
    (folder / "round-002" / cut).write_bytes(content[: len(content) // 2])
    assert attempt(recipe, workspace, folder) == 0
    assert_same_run(folder, unbroken)
    assert (folder / "round-002" / cut).read_bytes() == (unbroken / "round-002" / cut).read_bytes()


def test_a_folder_has_one_writer_at_a_time(workspace, recipe, unbroken):
    with (unbroken / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = workspace / "shared"
        folder.mkdir()
        (folder / ".lock").hardlink_to(unbroken / ".lock")
        assert attempt(recipe, workspace, folder) == 2
    assert "another run is writing there" in Path(f"{folder}.said").read_text()


def test_another_recipe_does_not_touch_a_run(workspace, recipe, unbroken):
    other = Recipe.model_validate_json(json.dumps(recipe_lines(workspace) | {"seed": 6}))
    folder = workspace / "other"
    shutil.copytree(unbroken, folder)
    (folder / "report.json").unlink()
    assert attempt(other, workspace, folder) == 2
    assert "seed: 5 -> 6" in Path(f"{folder}.said").read_text()
    (folder / "manifest.json").write_text("{")
    assert attempt(other, workspace, folder) == 2
    assert pairs_of(folder) == pairs_of(unbroken)


def test_results_that_come_late_and_again_are_dropped_and_counted(workspace, recipe, unbroken, monkeypatch):
    monkeypatch.setenv(inprocess.LATE_TOO, "1")
    folder = workspace / "late"
    assert attempt(recipe, workspace, folder) == 0
    assert_same_run(folder, unbroken)
    said = Path(f"{folder}.said").read_text()
    assert said.count(f"{2 * recipe.rollout.tasks_per_round} groups came a second time and were dropped") == 2
    assert not list(folder.glob("*/*quarantined*"))


def test_rounds_are_sampled_ahead_while_training_runs_and_never_further_than_allowed(workspace, monkeypatch):
    monkeypatch.setenv(inprocess.AWAIT_AHEAD, "round-001,round-002")
    lines = recipe_lines(workspace)
    lines["rollout"] |= {"staleness": 1, "tasks_per_round": 30}
    lines["training"]["rounds"] = 3
    folder = workspace / "ahead"
    assert attempt(Recipe.model_validate_json(json.dumps(lines)), workspace, folder) == 0
    allowed = {"round-001": {"sft"}, "round-002": {"sft", "round-001"}, "round-003": {"round-001", "round-002"}}
    for name, policies in allowed.items():
        samples = Stage(folder / name).sealed(Trajectory)
        assert len(samples) == len({t.sample_id for t in samples}) == 120
        assert {t.policy for t in samples} <= policies
        rates = json.loads((folder / name / "rates.json").read_text())
        stale = sum(t.policy != max(policies, key=stage_order) for t in samples)
        assert rates["stale_rate"] == pytest.approx(stale / 120)
        assert bool(stale) == (name != "round-001")


def test_one_log_teaches_by_several_methods_and_each_is_done_once(workspace):
    lines = recipe_lines(workspace)
    methods = {"dpo": {}, "kto": {"learning_rate": 2e-4}, "grpo": {}, "rejection_sft": {}}
    lines["training"] = {"warm_start": {"demonstrations": 8}, "compare": methods}
    recipe, folder = Recipe.model_validate_json(json.dumps(lines)), workspace / "compared"
    assert recipe.training.compared()["kto"].learning_rate == 2e-4
    assert attempt(recipe, workspace, folder, "round-001-grpo:before_commit") == -signal.SIGKILL
    assert attempt(recipe, workspace, folder) == 0
    report = json.loads((folder / "report.json").read_text())
    stages = ["base", "sft", *sorted(f"round-001-{method}" for method in methods)]
    assert [stage["name"] for stage in report["stages"]] == stages
    assert {gain["from"] for gain in report["gains"][1:]} == {"sft"} and len(report["gains"]) == 5
    assert len(list(folder.glob("round-001/trajectories/*.jsonl"))) > 0
    assert not list(folder.glob("round-001-*/trajectories"))
    assert attempt(recipe, workspace, folder) == 0 and "nothing to do" in Path(f"{folder}.said").read_text()


@pytest.mark.parametrize("change", [{"compare": {"sft": {}}}, {"compare": {"dpo": {}}, "rounds": 2},
                                    {"compare": {"dpo": {"learning_rat": 1.0}}}])  # fmt: skip
def test_what_cannot_be_compared_is_refused(workspace, change):
    with pytest.raises(ValidationError, match=r"compare|learning_rat"):
        Recipe.model_validate_json(json.dumps(recipe_lines(workspace) | {"training": change}))


FULL = """
import json, sys
from pathlib import Path
from rayplay.errors import RunFolderError
from rayplay.recipe import Pairs, Recipe
from tests import inprocess
workspace, folder = map(Path, sys.argv[1:])
inprocess.install(workspace / "model")
try:
    inprocess.play_run(Recipe.model_validate_json((workspace / "recipe.json").read_text()), folder)
except RunFolderError as error:
    print(error)
    sys.exit(2)
"""


def test_a_full_disk_stops_the_run_cleanly_and_it_goes_on_with_more_room(workspace, recipe, unbroken):
    """A real tmpfs, mounted in a namespace of its own: too small, then as large as is needed."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a file system of its own (no user namespaces)")
    (workspace / "recipe.json").write_text(json.dumps(recipe_lines(workspace)))
    size = sum(p.stat().st_size for p in unbroken.rglob("*") if p.is_file()) // 1024
    disk = workspace / "disk"
    disk.mkdir()
    play = f"{sys.executable} -c '{FULL}' {workspace} {disk}/run"
    script = f"""mount -t tmpfs -o size={size * 6 // 10}k tmpfs {disk} || exit 77
        {play}; echo "first: $?"
        ls {disk}/run/*/COMMIT.json; find {disk} -name '*.tmp'
        mount -o remount,size={size * 4}k {disk}
        {play}; echo "second: $?"; cp -r {disk}/run {workspace}/filled"""
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, timeout=300, cwd=ROOT, check=False
    )
    if done.returncode == 77:
        pytest.skip(f"no tmpfs here: {done.stderr.strip()}")
    assert "No space left" in done.stdout and "first: 2" in done.stdout, done.stdout + done.stderr
    assert "base/COMMIT.json" in done.stdout and ".tmp" not in done.stdout
    assert "second: 0" in done.stdout, done.stdout + done.stderr
    assert_same_run(workspace / "filled", unbroken)


def test_old_trajectories_are_scored_and_paired_anew_here_or_by_ray(workspace, unbroken):
    folder = RunFolder(unbroken)
    wanted = Pairs(min_margin=0.05, max_per_task=3, balance_reasons=True, demonstrations="unsolved_groups")
    weights = {"answer": 1.0, "brevity": 0.1}
    here = score_again(folder, weights), pair_again(folder, wanted, write=False)
    assert here[0]["round-001"]["n"] == 40 and here[1]["groups"] == 20 and here[1]["pairs"] > 20
    with open_cluster(num_cpus=2):
        assert (score_again(folder, weights, each=over_shards), pair_again(folder, wanted, each=over_shards)) == here
    stages = [unbroken / "round-001", unbroken / "round-002"]
    assert sum(len(read_lines(stage / "paired_again.jsonl", Pair)) for stage in stages) == here[1]["pairs"]
    by_brevity = score_again(folder, {"brevity": 1.0}), pair_again(folder, wanted, rescored=True)
    assert by_brevity[1]["groups"] == 20 and by_brevity[1]["margins"] != here[1]["margins"]
    for stage in stages:
        (stage / "rescored.jsonl").unlink()
        (stage / "paired_again.jsonl").unlink()
    with pytest.raises(RunFolderError, match="rayplay score RUN"):
        pair_again(folder, wanted, rescored=True)
