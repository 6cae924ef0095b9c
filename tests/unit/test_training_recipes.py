"""The recipes for GPUs load, fit the cluster that they name, and give settings that training accepts."""

import dataclasses
import json

import pytest

from rayplay.actors.cluster import parse_cluster
from rayplay.checking import check_elsewhere, check_fit
from rayplay.errors import ResourceError
from rayplay.recipe_text import load_recipe, parse_recipe
from rayplay.training.settings import TrainSettings, settings_for

CLUSTERS = {"configs/gpu_qwen3_0.6b_dpo.json": "cpus=8,gpus=1", "configs/gpu_qwen3_4b_dpo.json": "cpus=64,gpus=8"}


@pytest.mark.parametrize("path", CLUSTERS)
def test_a_gpu_recipe_fits_the_cluster_that_it_names_and_not_one_with_a_gpu_less(path):
    recipe, cluster = load_recipe(path), parse_cluster(CLUSTERS[path])
    check_fit(recipe, cluster)
    with pytest.raises(ResourceError, match="GPUs"):
        check_fit(recipe, dataclasses.replace(cluster, gpus=(cluster.gpus - 1)))
    assert "Not run here" in recipe.about


@pytest.mark.parametrize("text", ["", "8", "cpus=-1", "cpus=a", "gpus=8", "nodes=2", "cpus=0,gpus=1"])
def test_another_form_of_a_cluster_is_refused_with_the_right_one(text):
    with pytest.raises(ResourceError, match="cpus=64,gpus=8"):
        parse_cluster(text)


def test_a_dry_run_for_a_cluster_names_what_cannot_be_checked_here(tmp_path):
    model = {"name": "/no/such/folder"}
    recipe = parse_recipe(json.dumps({"model": model, "tools": ["tools.calculator"], "sandbox": {"require": "L0"}}), "")
    found = check_elsewhere(recipe, parse_cluster("cpus=4"))
    assert found["tools"] == ["calculator"] and "no such folder" in found["not_checked"]


def test_samplers_and_trainers_must_fit_side_by_side():
    held = {"rollout": {"cpus_per_worker": 2}, "training": {"cpus_per_worker": 1}}
    recipe = parse_recipe(json.dumps({"model": {"name": "m"}, **held}), "r.json")
    with pytest.raises(ResourceError, match="rollout holds 2 cores and training 1 at the same time"):
        check_fit(recipe, parse_cluster("cpus=2"))
    check_fit(recipe, parse_cluster("cpus=3"))


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
