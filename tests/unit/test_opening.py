"""What is refused before Ray starts and before anything is written, each with the next step."""

import importlib.util
import json

import pytest

from rayplay import opening
from rayplay.checking import check
from rayplay.data.prepare import Prepared
from rayplay.errors import RecipeError
from rayplay.models.micro import save_chat_model
from rayplay.recipe_text import parse_recipe
from rayplay.records import Expected, Message, Task
from rayplay.store import RunFolder


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    folder = tmp_path_factory.mktemp("opening")
    save_chat_model(folder / "model")
    return {
        "model": {"name": str(folder / "model"), "max_length": 4096},
        "tools": ["tools.calculator", "tools.weather"],
        "sandbox": {"require": "L0"},
    }


def refused(content: dict, **changes: dict) -> str:
    with pytest.raises(RecipeError) as caught:
        check(parse_recipe(json.dumps({**content, **changes}), "r.json"))
    return str(caught.value)


def test_a_recipe_that_fits_gives_tools_and_dialect(content):
    found = check(parse_recipe(json.dumps(content), "r.json"))
    assert [spec.name for spec in found.specs] == ["calculator", "weather"]
    assert found.facts["isolation"]["level"]


def test_a_recipe_may_have_the_tools_of_an_mcp_server_alone(content):
    server = {"mcp": {"command": "python", "args": ["-m", "tools.servers.money"]}}
    found = check(parse_recipe(json.dumps({**content, "tools": [server]}), "r.json"))
    assert found.specs and all(spec.module.startswith("mcp:") for spec in found.specs)


def test_tasks_are_compared_by_the_recipes_rule_unless_they_have_their_own(content, monkeypatch):
    plain, own = (Task.build("t", (Message(role="user", content=text),), ()) for text in ("a", "b"))
    own = own.model_copy(update={"expected": Expected(rule="exact")})
    monkeypatch.setattr(opening, "prepare", lambda *_, **__: Prepared([plain, own], [plain], []))
    recipe = parse_recipe(json.dumps({**content, "matching": "official"}), "r.json")
    made = opening.load_or_make_tasks(recipe, RunFolder("nowhere"), (), None, None)
    assert [task.expected.rule for task in made.train] == ["official", "exact"]
    assert [task.expected.rule for task in made.held_out] == ["official"]


def test_what_does_not_fit_is_named_with_the_next_step(content):
    model = content["model"] | {"max_length": 40}
    assert "model.max_length is 40, but one tool's prompt takes" in refused(content, model=model)
    assert "tools is empty" in refused(content, tools=[])
    assert "use 'dpo'" in refused(content, data={"preferences": True}, training={"method": "sft"})
    assert "999" in refused(content, rewards={"m:999": 1.0})


def test_what_training_could_not_do_is_refused_before_the_first_sample(content):
    def train(**changes):
        return refused(content, training=changes)

    if importlib.util.find_spec("wandb") is None:
        assert "pip install 'rayplay[wandb]'" in train(trackers=["wandb"])
        assert "pip install 'rayplay[wandb]'" in train(compare={"dpo": {}, "kto": {"trackers": ["wandb"]}})
    assert "lora.dropout is 0.1" in train(lora={"dropout": 0.1})
    assert "training.lora.targets" in train(lora={"targets": ["no_such_layer"]})
    assert "output head" in train(lora={"targets": ["lm_head"]})
