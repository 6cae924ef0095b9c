"""Join a Ray cluster, or start one on this machine and end it.

A cluster that we start serves this process alone (see `local_ray`). Its processes are Ray's children of this process:
they end with it, whether by `ray.shutdown` or by a kill.
"""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from rayplay.actors.local_ray import close_token_file, local_ray
from rayplay.errors import ResourceError
from rayplay.models.device import QUIET_ENV, usable_cores


@dataclass(frozen=True)
class Cluster:
    """What the cluster has, and whether it is ours."""

    cpus: float
    gpus: float
    nodes: int
    local: bool


def parse_cluster(text: str) -> Cluster:
    """`cpus=64,gpus=8` -> a cluster that is only thought of.

    Raises:
        ResourceError: Another form, or no cores.
    """
    sizes = dict.fromkeys(("cpus", "gpus"), 0.0)
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key.strip() not in sizes or not value.strip().isdecimal():
            raise ResourceError(f"--cluster {text!r}: write it as cpus=64,gpus=8")
        sizes[key.strip()] = float(value)
    if not sizes["cpus"]:
        raise ResourceError(f"--cluster {text!r}: a cluster has cores; write it as cpus=64,gpus=8")
    return Cluster(**sizes, nodes=1, local=False)


@contextmanager
def open_cluster(
    address: str | None = None,
    *,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    object_store_mb: int = 512,
) -> Iterator[Cluster]:
    """A running Ray. Inside a submitted job, or with an address, it joins; otherwise it starts one and ends it.

    Raises:
        ResourceError: The address does not answer, or Ray cannot be started.
    """
    joined = address or os.environ.get("RAY_ADDRESS")
    os.environ.update({key: os.environ.get(key, value) for key, value in QUIET_ENV.items()})
    logging.getLogger("ray").setLevel(logging.ERROR)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    if not joined:
        options |= {"num_cpus": num_cpus or len(usable_cores()), "num_gpus": num_gpus}
        options |= {"object_store_memory": object_store_mb * 2**20}
    close_token_file()
    with ExitStack() as stack:
        try:
            stack.enter_context(_joined_ray(joined, options) if joined else local_ray(options))
        except Exception as error:  # Ray raises a bare Exception where a node does not come up in time
            where = f"the Ray cluster at {joined}" if joined else "a local Ray"
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ResourceError(f"cannot reach {where}: {reason}; check resources.address") from error
        signal.signal(signal.SIGTERM, on_sigterm)  # ray.init put its own there, which would skip our clean end
        total = ray.cluster_resources()
        yield Cluster(total.get("CPU", 0), total.get("GPU", 0), len(ray.nodes()), local=not joined)


@contextmanager
def _joined_ray(address: str, options: dict[str, Any]) -> Iterator[None]:
    try:
        ray.init(address=address, **options)
        yield
    finally:
        ray.shutdown()


def check_room(section: str, *, num_workers: int, cpus: float | None, gpus: float, have: Cluster) -> None:
    """Refuse more workers than there is room for, before anything is started or written.

    Raises:
        ResourceError: Naming the recipe's key, the value, and what there is.
    """
    per_worker = cpus or 1.0
    if num_workers * gpus > have.gpus:
        raise ResourceError(
            f"{section}.gpus_per_worker is {gpus:g} for {num_workers} worker(s), but there are {have.gpus:g} GPUs; "
            f"lower it or --set {section}.gpus_per_worker=0"
        )
    if num_workers * per_worker > have.cpus:
        raise ResourceError(
            f"{section}.num_workers is {num_workers} with {per_worker:g} core(s) each, but there are {have.cpus:g}; "
            f"lower it, for example --set {section}.num_workers={max(1, int(have.cpus // per_worker))}"
        )
