"""A Ray that we start serves nobody else: loopback alone, a token in no file, sockets out of others' reach."""

import os
import stat
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import ray

from rayplay.actors.cluster import open_cluster
from rayplay.actors.local_ray import close_token_file
from rayplay.listening import listening_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(200)]


def answer(address: str, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_local_ray_listens_on_loopback_alone_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    with open_cluster(num_cpus=1, num_gpus=0, object_store_mb=100):
        token = os.environ["RAY_AUTH_TOKEN"]

        @ray.remote
        class Worker:
            def token(self) -> str:
                return os.environ["RAY_AUTH_TOKEN"]

        assert ray.get(Worker.remote().token.remote(), timeout=120) == token
        found = listening_of(os.getpid())
        session = Path(ray._private.worker._global_node.get_session_dir_path())
        dashboard = ray._private.worker._global_node.webui_url
        assert answer(dashboard, "/api/cluster_status") == 401
    assert len(found) >= 5 and [entry for entry in found if not entry.loopback] == []
    assert not [entry for entry in found if entry.port in (44217, 44227)]
    private = next(p for p in session.parents if p.parent in (Path("/tmp"), Path(os.environ.get("TMPDIR", "/tmp"))))
    assert private.name.startswith("rayplay-") and not private.exists()
    assert not list(tmp_path.rglob("auth_token")) and "RAY_AUTH_TOKEN" not in os.environ


def test_a_token_file_is_closed_to_other_accounts_and_a_link_is_left_alone(tmp_path):
    path, elsewhere = tmp_path / "auth_token", tmp_path / "elsewhere"
    path.write_text("x")
    path.chmod(0o644)
    elsewhere.write_text("y")
    elsewhere.chmod(0o644)
    (tmp_path / "link").symlink_to(elsewhere)
    for name in ("auth_token", "link", "none"):
        close_token_file(tmp_path / name)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(elsewhere.stat().st_mode) == 0o644
