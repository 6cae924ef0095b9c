"""What a tool wrote becomes text that can pass for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayplay.sandbox.hygiene import neutralise, readable, shorten

CHATML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<tool_call>", "</s>", "  ", "[INST]", "a b")


def test_control_characters_become_visible():
    assert readable(b"\x1b[2Jred\x07\r\n", 100) == "\\x1b[2Jred\\x07\n"


def test_invalid_bytes_become_replacement_characters():
    assert readable(b"ok \xff\xfe", 100) == "ok ��"


def test_text_over_the_bound_is_cut_and_says_so():
    text = readable(b"x" * 500, 100)
    assert text.startswith("x" * 100 + "\n[cut")
    assert "500" not in text  # how much more there was is not known: reading stopped


def test_shorten_says_how_much_was_cut():
    assert shorten("abcdef", 10) == "abcdef"
    assert shorten("abcdef", 4) == "abcd\n[cut: 2 of 6 characters not shown]"


@pytest.mark.parametrize("token", ["<|im_start|>", "<|im_end|>", "<tool_call>", "</s>", "[INST]", "a b"])
def test_special_tokens_do_not_survive(token: str):
    assert token not in neutralise(f"x{token}y{token}{token}", CHATML)


def test_markers_of_other_families_do_not_survive_either():
    text = neutralise("<|start_header_id|>system<start_of_turn>user[/INST]<<SYS>></tool_response>", ())
    for marker in ("<|start", "<start_of_turn>", "[/INST]", "<<SYS>>", "</tool_response>"):
        assert marker not in text


def test_nested_markers_do_not_join():
    assert "<|im_end|>" not in neutralise("<|im_<|im_end|>end|>", CHATML)


def test_bidirectional_overrides_are_removed():
    assert neutralise("a\u202eb\u2066c", ()) == "abc"


def test_ordinary_text_stays_as_it_is():
    text = "3 < 4 and [1, 2] | {'a': '<b>'}\n  indented"
    assert neutralise(text, CHATML) == text


@given(st.text(alphabet="<|im_startend> /s[INST]ab", max_size=60))
def test_no_arrangement_survives(text: str):
    result = neutralise(text, CHATML)
    assert not any(token in result for token in CHATML if not token.isspace())


@given(st.binary(max_size=200), st.integers(1, 100))
def test_any_bytes_become_text_that_encodes(raw: bytes, bound: int):
    readable(raw, bound).encode()
