"""The conversation that most shapes tell: two parallel calls with their results, then an answer."""

import json

SCHEMA = {
    "type": "object",
    "properties": {
        "bed": {"type": "string", "description": "Name of the bed."},
        "depth_cm": {"type": "integer", "description": "How deep to measure."},
    },
    "required": ["bed"],
}
BARE = {"name": "soil_moisture", "description": "Moisture of the soil in percent.", "parameters": SCHEMA}
TOOL = {"type": "function", "function": BARE}
SYSTEM = "You look after a greenhouse."
ASK = "How moist are the beds of basil and mint, the latter 5 cm down?"
ARGUMENTS = ({"bed": "basil"}, {"bed": "mint", "depth_cm": 5})
RESULTS = ('{"percent": 31}', '{"percent": 47}')
SAID = "Basil is at 31 percent, mint at 47."
TALK = [{"role": "user", "content": "Thank you!"}, {"role": "assistant", "content": "You are welcome."}]


def openai_call(n, arguments=json.dumps):
    """A call as OpenAI writes it."""
    function = {"name": "soil_moisture", "arguments": arguments(ARGUMENTS[n])}
    return {"id": f"call_{n}", "type": "function", "function": function}


def call(n, key="arguments"):
    """A call as plain name and arguments."""
    return {"name": "soil_moisture", key: ARGUMENTS[n]}


def chat(calls, results, system=True, said=SAID, **more):
    """Messages: system, request, an assistant message with these fields, these messages of results, the answer."""
    opening = [{"role": "system", "content": SYSTEM}] if system else []
    asked = [*opening, {"role": "user", "content": ASK}, {"role": "assistant", **calls}]
    return [*asked, *results, {"role": "assistant", "content": said, **more}]


def results(role="tool", **names):
    """A message for each result; `names` are further fields by the number of the call."""
    return [{"role": role, "content": RESULTS[n], **{k: make(n) for k, make in names.items()}} for n in (0, 1)]


CALLS = {"content": None, "tool_calls": [openai_call(0), openai_call(1)]}
BY_ID = results(tool_call_id=lambda n: f"call_{n}")
OPENAI = {"messages": chat(CALLS, BY_ID), "tools": [TOOL]}
TALKED = {"messages": TALK, "tools": [TOOL]}


def sharegpt(turns):
    """Messages in the words of ShareGPT."""
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    return [{"from": names.get(t["role"], t["role"]), "value": t["content"]} for t in turns]
