"""A cluster -> the isolation level that the canaries prove on each of its nodes."""

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rayplay.errors import ResourceError
from rayplay.sandbox import IsolationReport, isolation_report

PROBE_S = 180.0  # of all nodes together


def isolation_of_nodes() -> dict[str, IsolationReport]:
    """What holds on every living node of the cluster that this process is connected to, by address.

    Raises:
        ResourceError: A node did not answer.
    """
    probe = ray.remote(num_cpus=0, max_retries=0)(isolation_report)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    asked = {
        f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})": probe.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in nodes
    }
    try:
        return dict(zip(asked, ray.get(list(asked.values()), timeout=PROBE_S), strict=True))
    except (GetTimeoutError, RayError) as error:
        raise ResourceError(f"a node of the cluster did not run the canaries within {PROBE_S:g} s: {error}") from error
