import json
from pathlib import Path

import jsonschema
import ray
import yaml

ROOT = Path(__file__).parents[2]


def test_cluster_yaml_satisfies_rays_own_schema():
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)


def test_tools_rollouts_and_training_have_nodes_of_their_own():
    types = yaml.safe_load((ROOT / "cluster.yaml").read_text())["available_node_types"]
    assert {"head", "tools", "rollout", "training"} <= set(types)
    assert "GPU" not in types["tools"]["resources"]
    assert types["rollout"]["resources"]["GPU"] and types["training"]["resources"]["GPU"]
