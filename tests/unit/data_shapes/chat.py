"""Shapes of chat messages: OpenAI's and its dialects, ShareGPT, turns of their own for calls, marks of authors."""

import json

from tests.unit.data_shapes.greenhouse import (
    ARGUMENTS,
    ASK,
    BARE,
    BY_ID,
    CALLS,
    OPENAI,
    RESULTS,
    SAID,
    SCHEMA,
    SYSTEM,
    TALK,
    TALKED,
    TOOL,
    call,
    chat,
    openai_call,
    results,
    sharegpt,
)
from tests.unit.data_shapes.shape import Shape

_TEXT_CALLS = [{"role": "tool_call", "content": json.dumps(call(n))} for n in (0, 1)]
_RESPONSES = results("tool_response")


def _own_turns(calls, answers, said=SAID):
    asked = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ASK}]
    return [*asked, *calls, *answers, {"role": "assistant", "content": said}]


def _row(messages, **more):
    return {"messages": messages, "tools": [TOOL], **more}


SHAPES = (
    Shape("OpenAI chat lines", [OPENAI, TALKED]),
    Shape(
        "OpenAI, arguments as objects",
        [_row(chat({"tool_calls": [openai_call(0, dict), openai_call(1, dict)]}, BY_ID))],
    ),
    Shape(
        "calls as bare name and arguments", [_row(chat({"content": "", "tool_calls": [call(0), call(1)]}, results()))]
    ),
    Shape(
        "calls as JSON text in a list",
        [_row(chat({"tool_calls": [json.dumps(call(0)), json.dumps(call(1))]}, results()))],
    ),
    Shape("tool_calls as one JSON text", [_row(chat({"tool_calls": json.dumps([call(0), call(1)])}, results()))]),
    Shape(
        "the older function_call",
        [
            {
                "messages": [
                    {"role": "user", "content": ASK},
                    {
                        "role": "assistant",
                        "content": None,
                        "function_call": {k: v if k == "name" else json.dumps(v) for k, v in call(0).items()},
                    },
                    {"role": "function", "name": "soil_moisture", "content": RESULTS[0]},
                    {"role": "assistant", "content": SAID},
                ],
                "functions": [BARE],
            }
        ],
    ),
    Shape("results by the name of their tool", [_row(chat(CALLS, results(name=lambda n: "soil_moisture")))]),
    Shape(
        "one list of results for parallel calls",
        [_row(chat(CALLS, [{"role": "tool", "content": f"[{', '.join(RESULTS)}]"}]))],
    ),
    Shape("results as objects", [_row(chat(CALLS, [{**m, "content": json.loads(m["content"])} for m in BY_ID]))]),
    Shape(
        "content as text parts",
        [
            _row(
                [
                    {**m, "content": [{"type": "text", "text": m["content"]}]} if m.get("content") else m
                    for m in OPENAI["messages"]
                ]
            )
        ],
    ),
    Shape(
        "a developer message",
        [_row([{**m, "role": "developer"} if m["role"] == "system" else m for m in OPENAI["messages"]])],
    ),
    Shape("reasoning_content", [_row(chat({**CALLS, "reasoning_content": "Two beds, two calls."}, BY_ID))]),
    Shape("thinking in <think> tags", [_row(chat({**CALLS, "content": "<think>Two beds, two calls.</think>"}, BY_ID))]),
    Shape("weight of a message", [_row(chat({**CALLS, "weight": 0}, BY_ID, weight=1))]),
    Shape("loss of a message", [_row(chat(CALLS, BY_ID, loss=False))]),
    Shape("system text beside", [{"system": SYSTEM, **_row(chat(CALLS, BY_ID, system=False))}]),
    Shape("messages and tools as JSON text", [{k: json.dumps(v) for k, v in OPENAI.items()}]),
    Shape("several messages of one role in a row", [_row([TALK[0], {"role": "user", "content": "And bye."}, TALK[1]])]),
    Shape("a conversation that ends with the user", [_row([{"role": "user", "content": ASK}], answer="31")]),
    Shape(
        "several samples of one id",
        [{"id": "a", **TALKED}, {"id": "a", **_row([TALK[0], {"role": "assistant", "content": "Any time."}])}],
    ),
    Shape("rows labelled good and bad", [{**TALKED, "label": True}, {**OPENAI, "label": False}]),
    Shape("rows with rewards", [{**OPENAI, "reward": 1.0}, {**TALKED, "reward": 0.0}]),
    Shape("pictures next to text", [{**TALKED, "images": ["bed.jpg"]}, TALKED]),
    Shape(
        "ms-swift agent (tool_call, tool_response)",
        [{"tools": json.dumps([TOOL]), "messages": _own_turns(_TEXT_CALLS, _RESPONSES)}],
    ),
    Shape(
        "Toucan (calls as Python text)",
        [
            {
                "uuid": "t1",
                "tools": json.dumps([TOOL]),
                "messages": json.dumps(
                    _own_turns(
                        [
                            {
                                "role": "tool_call",
                                "content": str({"name": "soil_moisture", "arguments": json.dumps(ARGUMENTS[n])}),
                            }
                            for n in (0, 1)
                        ],
                        _RESPONSES,
                    )
                ),
            }
        ],
    ),
    Shape(
        "function_call and observation turns",
        [
            {
                "tools": json.dumps([BARE]),
                "conversations": sharegpt(
                    _own_turns(
                        [{"role": "function_call", "content": json.dumps([call(0), call(1)])}],
                        [{"role": "observation", "content": f"[{', '.join(RESULTS)}]"}],
                    )
                ),
            }
        ],
    ),
    Shape("plain ShareGPT", [{"conversations": sharegpt(TALK)}]),
    Shape("conversations of role and content", [{"conversations": OPENAI["messages"], "tools": json.dumps([TOOL])}]),
    Shape(
        "Anthropic messages (tool_use, tool_result)",
        [
            {
                "system": SYSTEM,
                "messages": chat(
                    {
                        "content": [
                            {"type": "thinking", "thinking": "Two."},
                            *(
                                {"type": "tool_use", "id": f"t{n}", "name": "soil_moisture", "input": ARGUMENTS[n]}
                                for n in (0, 1)
                            ),
                        ]
                    },
                    [
                        {
                            "role": "user",
                            "content": [
                                {"type": "tool_result", "tool_use_id": f"t{n}", "content": RESULTS[n]} for n in (0, 1)
                            ],
                        }
                    ],
                    system=False,
                ),
                "tools": [{"name": "soil_moisture", "description": "Moisture.", "input_schema": SCHEMA}],
            }
        ],
    ),
    Shape(
        "LangChain messages (human, ai, tool)",
        [
            {
                "messages": [
                    {"type": "human", "content": ASK},
                    {
                        "type": "ai",
                        "content": "",
                        "tool_calls": [{"name": "soil_moisture", "args": ARGUMENTS[n], "id": f"c{n}"} for n in (0, 1)],
                    },
                    *({"type": "tool", "content": RESULTS[n], "tool_call_id": f"c{n}"} for n in (0, 1)),
                    {"type": "ai", "content": SAID},
                ],
                "tools": [TOOL],
            }
        ],
    ),
    Shape(
        "alpaca with tools and history",
        [
            {
                "instruction": ASK,
                "input": "",
                "output": SAID,
                "system": SYSTEM,
                "tools": json.dumps([BARE]),
                "history": [["Hi", "Hello."]],
            }
        ],
    ),
)
