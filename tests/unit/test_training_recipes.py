"""The recipes for GPUs load, fit the cluster that they name, and give settings that training accepts."""

import pytest

from rayplay.actors.cluster import Cluster, check_room
from rayplay.recipe import load_recipe
from rayplay.training.settings import TrainSettings, settings_for

CLUSTERS = {
    "configs/gpu_qwen3_0.6b_dpo.json": Cluster(cpus=8, gpus=1, nodes=1, local=False),
    "configs/gpu_qwen3_4b_dpo.json": Cluster(cpus=64, gpus=8, nodes=1, local=False),
}


@pytest.mark.parametrize("path", CLUSTERS)
def test_a_gpu_recipe_fits_the_cluster_that_it_names(path):
    recipe, cluster = load_recipe(path), CLUSTERS[path]
    sections = {"rollout": recipe.rollout, "training": recipe.training}
    for name, section in sections.items():
        room = {"num_workers": section.num_workers, "cpus": section.cpus_per_worker, "gpus": section.gpus_per_worker}
        check_room(name, **room, have=cluster)
    assert sum(s.num_workers * s.gpus_per_worker for s in sections.values()) <= cluster.gpus
    assert sum(s.num_workers * s.cpus_per_worker for s in sections.values()) <= cluster.cpus
    assert recipe.training.batch_size >= recipe.training.num_workers
    assert "Not run here" in recipe.about


@pytest.mark.parametrize("path", CLUSTERS)
def test_the_warm_start_replaces_the_optimisation_part_alone(path):
    recipe = load_recipe(path)
    warm = settings_for(recipe.training, recipe.model, recipe.seed, recipe.training.warm_start)
    main = settings_for(recipe.training, recipe.model, recipe.seed)
    assert isinstance(warm, TrainSettings)
    assert (warm.learning_rate, main.learning_rate) == (
        recipe.training.warm_start.learning_rate,
        recipe.training.learning_rate,
    )
    assert warm.lora == main.lora == recipe.training.lora
