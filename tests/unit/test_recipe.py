import json
from pathlib import Path

import pytest

from rayplay.cli import stages
from rayplay.errors import RecipeError
from rayplay.recipe_text import load_recipe, parse_recipe, recipe_schema, save_recipe

CONFIGS = sorted(p for p in (Path(__file__).parents[2] / "configs").glob("*.json") if "cases" not in p.name)
MODEL = {"model": {"name": "m"}}


def parse(content: dict, *overrides: str):
    return parse_recipe(json.dumps(content), "r.json", overrides)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_shipped_recipe_loads_says_what_it_needs_and_survives_a_round_trip(path: Path):
    recipe = load_recipe(path)
    assert len(recipe.about) > 40
    assert parse_recipe(save_recipe(recipe), "again") == recipe


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({**MODEL, "training": {"lerning_rate": 1}}, "'training.lerning_rate'; did you mean 'learning_rate'"),
        ({**MODEL, "trainning": {}}, "did you mean 'training'"),
        ({**MODEL, "matching": "strict"}, "'official', 'plain' or 'exact'"),
        ({**MODEL, "training": {"warm_start": {"demonstration": 3}}}, "did you mean 'demonstrations'"),
        (
            {**MODEL, "tools": ["a", {"name": "x", "descripton": ""}]},
            "'tools.1.descripton'; did you mean 'description'",
        ),
        ({**MODEL, "data": {"sources": [{"source": "templates", "wieght": 1}]}}, "did you mean 'weight'"),
        ({**MODEL, "training": {"learning_rate": "fast"}}, 'training.learning_rate is "fast"'),
        ({**MODEL, "rollout": {"num_workers": 0}}, "rollout.num_workers is 0"),
        ({**MODEL, "tools": [{"mcp": {}}]}, "command or url"),
        ({"model": {"name": "m", "device_map": "cuda"}}, "device_map is 'cuda', but rollout.gpus_per_worker is 0"),
        ({**MODEL, "training": {"loss_type": ["sigmoyd"]}}, 'training.loss_type.0 is "sigmoyd": input should be'),
        ({**MODEL, "training": {"loss_type": []}}, "training.loss_type is []"),
        (
            {**MODEL, "training": {"loss_type": ["ipo"], "loss_weights": [1.0, 2.0]}},
            "training: loss_weights has 2 entries, loss_type 1",
        ),
        (
            {**MODEL, "training": {"loss_type": ["exo_pair"], "label_smoothing": 0.0}},
            "needs a label_smoothing above 0, for example 0.001",
        ),
        ({**MODEL, "training": {"method": "grpo", "use_lora": False}}, "training: grpo needs use_lora"),
        ({**MODEL, "training": {"num_workers": 20}}, "num_workers is 20, more than the 16 rows of a step"),
        ({}, "'model' is missing"),
    ],
)
def test_a_wrong_recipe_names_the_key_and_the_next_step(content: dict, expected: str):
    with pytest.raises(RecipeError) as caught:
        parse(content)
    assert expected in str(caught.value)


def test_overrides_reach_any_depth_and_parse_json_values():
    recipe = parse(MODEL, "training.learning_rate=1e-5", "training.warm_start.demonstrations=12", "about=hello there")
    assert recipe.training.learning_rate == 1e-5
    assert recipe.training.warm_start.demonstrations == 12
    assert recipe.about == "hello there"


@pytest.mark.parametrize("override", ["training.learning_rate", "=3", "seed.x=1"])
def test_a_malformed_override_is_refused(override: str):
    with pytest.raises(RecipeError):
        parse({**MODEL, "seed": 1}, override)


@pytest.mark.parametrize("text", ["{", "[]", '{"seed": 1, "seed": 2}', '"x"', "[" * 100_000])
def test_text_that_is_no_recipe_is_an_error_with_its_place(text: str):
    with pytest.raises(RecipeError, match=r"r\.json"):
        parse_recipe(text, "r.json")


def test_the_hash_ignores_where_a_recipe_runs_and_what_it_says_about_itself():
    assert parse(MODEL).hash() == parse(MODEL, "about=x", "resources.num_cpus=3").hash()
    assert parse(MODEL).hash() != parse(MODEL, "seed=3").hash()


def test_seed_style_tool_definitions_stand_beside_names():
    seed_style = {"name": "calculator", "description": "d", "type": "function", "parameters": {"type": "object"}}
    assert len(parse({**MODEL, "tools": ["tools.weather", seed_style]}).tools) == 2


def test_the_schema_describes_every_section():
    assert {"model", "data", "tools", "rollout", "rewards", "pairs", "training"} <= set(recipe_schema()["properties"])


def test_a_manifest_of_another_version_is_refused_by_the_key_that_it_has_and_we_lack(tmp_path):
    recipe = {"model": {"name": "smollm2-135m-instruct"}, "rollout": {"no_longer_there": 1}}
    (tmp_path / "manifest.json").write_text(json.dumps({"recipe": recipe}))
    for command in (stages.pairs, stages.score):
        with pytest.raises(RecipeError, match=r"manifest\.json: unknown key 'rollout\.no_longer_there'"):
            command(str(tmp_path))
