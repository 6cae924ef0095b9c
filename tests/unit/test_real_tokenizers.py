"""The same proofs over the families' real tokenizers, where RAYPLAY_TOKENIZERS names a folder that has them.

Its subfolders `qwen3`, `llama3_1` and `gptoss` hold tokenizer.json and tokenizer_config.json, as the models are
published with them. Nothing is fetched.
"""

import os
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from rayplay.dialects import Dialect, probe
from rayplay.models.tokenizers import make_dialect
from rayplay.records import Message, ToolCall
from tests.families import TEMPLATES
from tests.unit.test_family_outputs import LOOK_UP, PDF, WRITTEN

FOLDER = Path(os.environ.get("RAYPLAY_TOKENIZERS", "/nowhere"))
ROWS = {
    "qwen2.5": ("qwen3", "qwen2_5", "auto", "hermes"),
    "qwen3": ("qwen3", "qwen3", "auto", "hermes"),
    "qwen3-2507": ("qwen3", "qwen3_instruct_2507", "auto", "hermes"),
    "qwen3.5": ("qwen3", "qwen3_5_nothink", "qwen3_coder", "qwen3_coder"),
    "qwen3.6": ("qwen3", "qwen3_6", "qwen3_xml", "qwen3_coder"),
    "qwen3.8": ("qwen3", "qwen3_8", "qwen3_coder", "qwen3_coder"),
    "llama3.1": ("llama3_1", "llama3_1", "auto", "llama3_json"),
    "llama3.2": ("llama3_1", "llama3_2", "auto", "llama3_json"),
    "gpt-oss": ("gptoss", "gptoss", "auto", "openai"),
}
STOPS = ("<|call|>", "<|eom_id|>")


@pytest.fixture(scope="module", params=sorted(ROWS))
def row(request) -> tuple[Dialect, str]:
    folder, template, name, syntax = ROWS[request.param]
    if not (FOLDER / folder / "tokenizer.json").is_file():
        pytest.skip(f"no {folder} below RAYPLAY_TOKENIZERS")
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / folder)
    tokenizer.chat_template = (TEMPLATES / f"{template}.jinja").read_text(encoding="utf-8")
    stops = tuple(tokenizer.convert_tokens_to_ids([stop for stop in STOPS if stop in tokenizer.get_vocab()]))
    return make_dialect(tokenizer, name, stops, {"date_string": "1 Jan 2026"}), syntax


def test_the_probe_holds_with_tools_of_its_own(row):
    probe(row[0], [LOOK_UP, PDF])


def test_what_the_family_writes_is_read_through_its_tokens(row):
    dialect, syntax = row
    for name, (text, wanted) in WRITTEN[syntax].items():
        ids = dialect.tokenizer(text, add_special_tokens=False)["input_ids"]
        content, calls = dialect.parse([], ids, "s", [LOOK_UP, PDF])
        good = [(call.name, call.arguments) for call in calls if not call.problem]
        assert (content, good, len(calls) - len(good)) == wanted, name


def test_every_token_of_its_own_is_text_inside_a_result(row):
    dialect, _ = row
    call = ToolCall(call_id="c", name="look_up", arguments={"word": "owl"})
    spoken = [Message(role="user", content="q"), Message(role="assistant", tool_calls=(call,))]
    own = dialect.tokenizer.added_tokens_decoder
    texts = [" ".join(token.content for token in own.values()), "harmless"]
    counts = []
    for text in texts:
        answer = Message(role="tool", content=text, tool_call_id="c", name="look_up")
        ids, _ = dialect.supervise([*spoken, answer, Message(role="assistant", content="Done.")], [LOOK_UP])
        counts.append(sum(token in own for token in ids))
    assert counts[0] == counts[1]
