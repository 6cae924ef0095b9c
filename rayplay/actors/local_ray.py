"""A Ray of this process alone: a token of its own, loopback only, a folder that other accounts cannot enter.

Ray's defaults are made for a trusted network. Here every port listens on 127.0.0.1, every port asks for a token that
exists in the environment of our own processes and in no file, the exporters of metrics (which ask nobody) do not start,
and the sockets lie in a folder of mode 0700 instead of /tmp/ray, where Ray gives all accounts write access.

Not closed: the rendezvous of torch.distributed, which a training phase opens on all interfaces for as long as it runs.
"""

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader

LONGEST_FOLDER = 24  # characters: a Unix socket's path below it has at most 107
NO_PORT = "99999"  # an exporter that cannot bind its port logs that and leaves the rest of Ray alone
LOCAL_ENV = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's switch for loopback: on by default on these two systems
    "DASHBOARD_METRIC_PORT": NO_PORT,
    "AUTOSCALER_METRIC_PORT": NO_PORT,
}
OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@contextmanager
def local_ray(options: dict[str, Any]) -> Iterator[None]:
    """Start a Ray and connect to it; the block's end ends it. Its logs are kept where the block ends with an error."""
    folder = _private_folder()
    before = {name: os.environ.get(name) for name in (*LOCAL_ENV, "RAY_AUTH_TOKEN")}
    many_nodes = ray_constants.ENABLE_RAY_CLUSTER
    os.environ.update(LOCAL_ENV, RAY_AUTH_TOKEN=secrets.token_hex(32))
    AuthenticationTokenLoader.instance().reset_cache()
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        ray.init(
            address="local",
            dashboard_host="127.0.0.1",
            include_dashboard=True,
            _temp_dir=str(folder / "r"),  # Ray opens this one to all accounts; nobody gets through the outer one
            _system_config={"enable_metrics_collection": False},
            **options,
        )
        yield
    except BaseException:
        _end(before, many_nodes)
        raise
    _end(before, many_nodes)
    shutil.rmtree(folder, ignore_errors=True)  # a process that ends late may still write one more line of its log


def close_token_file(path: Path | None = None) -> None:
    """Take the rights of other accounts from Ray's token file, which Ray itself writes with mode 0644."""
    path = path or Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & OPEN_TO_OTHERS:
            path.chmod(stat.S_IMODE(found.st_mode) & ~OPEN_TO_OTHERS)
    except OSError:  # none, or not ours to change
        return


def _end(before: dict[str, str | None], many_nodes: bool) -> None:
    ray.shutdown()
    ray_constants.ENABLE_RAY_CLUSTER = many_nodes
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    AuthenticationTokenLoader.instance().reset_cache()


def _private_folder() -> Path:
    """A new folder of mode 0700 with a short name."""
    root = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="rayplay-", dir=root if len(root) <= LONGEST_FOLDER - 18 else "/tmp"))
