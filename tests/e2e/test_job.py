"""The smoke recipe, real model and all, as a job on a cluster that asks for a token."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).with_name("ray"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head node of our own; its process group is ended by id."""
    temp = tmp_path_factory.mktemp("ray", numbered=True)
    short = Path("/tmp") / f"rp-{secrets.token_hex(3)}"  # sockets have room for 107 characters
    dashboard = free_port()
    env = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    command = [RAY, "start", "--head", "--block", "--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard)]
    command += ["--port", str(free_port()), "--ray-client-server-port", str(free_port()), "--temp-dir", str(short)]
    # by default one port for all clusters of a machine: the agent of the second one never answers
    command += ["--dashboard-agent-listen-port", str(free_port())]
    with (temp / "ray.log").open("w") as log:
        head = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{dashboard}"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        done = subprocess.run(
            [RAY, "job", "list", "--address", address], env=env, capture_output=True, timeout=60, check=False
        )
        if done.returncode == 0:
            break
        time.sleep(1)
    else:
        os.killpg(head.pid, signal.SIGKILL)
        pytest.fail((temp / "ray.log").read_text()[-2000:])
    yield address, env
    os.killpg(head.pid, signal.SIGTERM)
    try:
        head.wait(timeout=5)
    except subprocess.TimeoutExpired:
        os.killpg(head.pid, signal.SIGKILL)


def test_a_wrong_token_is_refused(cluster):
    address, env = cluster
    wrong = {**env, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    done = subprocess.run(
        [RAY, "job", "list", "--address", address], env=wrong, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0 and "uthentication" in done.stdout + done.stderr


def test_the_smoke_recipe_runs_as_a_submitted_job(cluster, tmp_path):
    address, env = cluster
    command = [RAY, "job", "submit", "--address", address, "--working-dir", ".", "--"]
    command += [
        sys.executable,
        "jobs/train.py",
        "--config",
        "configs/smoke.json",
        "--output-dir",
        str(tmp_path / "smoke"),
    ]
    smaller = ("data.held_out_tasks=4", "training.warm_start.demonstrations=12", "rollout.tasks_per_round=6")
    smaller += ("training.max_steps=1", "pairs.demonstrations=unsolved_groups")  # pairs, however little was learned
    command += [part for change in smaller for part in ("--set", change)]
    deadline = time.monotonic() + 120
    while True:
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=700, check=False)
        if "No available agent" not in done.stderr or time.monotonic() > deadline:
            break
        time.sleep(3)  # "please try again later": the node's agent starts after the dashboard answers
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    for stage in ("base/evaluation", "sft/train", "round-001/trajectories", "round-001/train"):
        assert stage in done.stdout
    report = json.loads((tmp_path / "smoke/report.json").read_text())
    assert [stage["name"] for stage in report["stages"]] == ["base", "sft", "round-001"]
    assert report["pairs"]["total"] > 0 and report["tokens"]["generated"] > 0
