"""The endpoint that answers with known calls: who gets which answer, and who gets none."""

import json
import urllib.error
import urllib.request

import pytest

from rayplay.evaluation.bfcl_endpoint import AnswerBook, answering_endpoint


def tool(name):
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


def user(text):
    return {"role": "user", "content": text}


def case(turns, gold, tools=("f",)):
    return {"id": "x", "category": "c", "turns": turns, "tools": [tool(t) for t in tools], "gold": gold}


CALL = {"name": "f", "arguments": {"x": 1}}


def test_a_case_is_found_by_its_conversation_and_its_tools():
    book = AnswerBook([case([[user("hi")]], [[CALL]])])
    assert book.answer([user("hi")], [tool("f")]) == [CALL]
    assert book.answer([user("hi")], [tool("g")]) is None
    assert book.answer([user("hello")], [tool("f")]) is None


def test_equal_questions_with_other_tools_are_other_cases():
    book = AnswerBook([case([[user("hi")]], [[]], ("g",)), case([[user("hi")]], [[CALL]], ("f", "g"))])
    assert book.answer([user("hi")], [tool("f"), tool("g")]) == [CALL]
    assert book.answer([user("hi")], [tool("g")]) == []


def test_results_end_a_turn_and_the_next_user_message_begins_one():
    second = {"name": "f", "arguments": {"x": 2}}
    book = AnswerBook([case([[user("one")], [user("two")]], [[CALL], [second]])])
    history = [user("one"), {"role": "assistant", "content": None}, {"role": "tool", "content": "1"}]
    assert book.answer(history, [tool("f")]) == []
    assert book.answer([*history, {"role": "assistant", "content": "done"}, user("two")], [tool("f")]) == [second]


def test_a_turn_without_a_message_takes_any_words_and_further_tools():
    book = AnswerBook([case([[user("one")], []], [[], [CALL]])])
    asked = [user("one"), {"role": "assistant", "content": "no"}, user("there are more functions now")]
    assert book.answer(asked, [tool("f"), tool("late")]) == [CALL]


def test_the_empty_book_answers_nothing_to_anything():
    assert AnswerBook([], empty=True).answer([user("anything")], []) == []


def ask(endpoint, key, body):
    request = urllib.request.Request(
        f"{endpoint.base_url}/chat/completions", data=body, headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def test_the_endpoint_listens_on_loopback_and_answers_in_the_api_of_openai():
    with answering_endpoint(AnswerBook([case([[user("hi")]], [[CALL]])])) as endpoint:
        assert endpoint.base_url.startswith("http://127.0.0.1:")
        body = json.dumps({"model": "gold", "messages": [user("hi")], "tools": [tool("f")]}).encode()
        message = ask(endpoint, endpoint.key, body)["choices"][0]["message"]
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"x": 1}'}


@pytest.mark.parametrize(("body", "key", "status"), [(b"{}", "wrong", 401), (b"no json", "", 400), (b"[]", "", 400)])
def test_the_endpoint_refuses_strangers_and_nonsense(body, key, status):
    with answering_endpoint(AnswerBook([])) as endpoint:
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(endpoint, key or endpoint.key, body)
        assert refused.value.code == status


def test_an_unknown_conversation_is_an_error_and_not_an_empty_answer():
    with answering_endpoint(AnswerBook([])) as endpoint:
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(endpoint, endpoint.key, json.dumps({"messages": [user("?")], "tools": []}).encode())
        assert refused.value.code == 404
