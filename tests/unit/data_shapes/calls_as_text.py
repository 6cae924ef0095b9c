"""Shapes in which calls, results or tools stand in the text of messages, as each model family writes them."""

import json

from tests.unit.data_shapes.greenhouse import (
    ARGUMENTS,
    ASK,
    BARE,
    RESULTS,
    SAID,
    SYSTEM,
    TOOL,
    call,
    chat,
    results,
    sharegpt,
)
from tests.unit.data_shapes.shape import Shape

_HERMES = "\n".join(f"<tool_call>\n{json.dumps(call(n))}\n</tool_call>" for n in (0, 1))
_QWEN_XML = "\n".join(
    "<tool_call>\n<function=soil_moisture>\n"
    + "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments.items())
    + "</function>\n</tool_call>"
    for arguments in ARGUMENTS
)
_PYTHON = ", ".join(
    f"soil_moisture({', '.join(f'{key}={value!r}' for key, value in arguments.items())})" for arguments in ARGUMENTS
)
_RESPONSES = "\n".join(f"<tool_response>\n{r}\n</tool_response>" for r in RESULTS)
_LISTED = f"{SYSTEM}\n\n# Tools\n\nSignatures within <tools></tools>:\n<tools>\n{json.dumps(TOOL)}\n</tools>"
_GLAIVE = (
    f"SYSTEM: You are helpful. You have access to the following functions. Use them if required -\n{json.dumps(BARE)}"
)
_GLAIVE_CHAT = "\n\n\n".join(
    (
        f"USER: {ASK}",
        'ASSISTANT: <functioncall> {"name": "soil_moisture", "arguments": '
        + f"'{json.dumps(ARGUMENTS[0])}'}} <|endoftext|>",
        f"FUNCTION RESPONSE: {RESULTS[0]}",
        f"ASSISTANT: {SAID} <|endoftext|>",
    )
)


def _said(text):
    return [{"messages": chat({"content": text}, results()), "tools": [TOOL]}]


SHAPES = (
    Shape("Hermes <tool_call> in messages", _said(_HERMES)),
    Shape(
        "Hermes, results in a user's <tool_response>",
        [{"messages": chat({"content": _HERMES}, [{"role": "user", "content": _RESPONSES}]), "tools": [TOOL]}],
    ),
    Shape(
        "Hermes, tools in the system text",
        [{"messages": [{"role": "system", "content": _LISTED}, *chat({"content": _HERMES}, results(), system=False)]}],
    ),
    Shape(
        "Hermes in ShareGPT",
        [
            {
                "conversations": sharegpt(
                    [
                        {"role": "system", "content": _LISTED},
                        {"role": "user", "content": ASK},
                        {"role": "assistant", "content": _HERMES},
                        {"role": "tool", "content": _RESPONSES},
                        {"role": "assistant", "content": SAID},
                    ]
                )
            }
        ],
    ),
    Shape("Qwen3-Coder XML", _said(_QWEN_XML)),
    Shape("Mistral [TOOL_CALLS]", _said(f"[TOOL_CALLS] {json.dumps([call(0), call(1)])}")),
    Shape("Python list [f(a=1)]", _said(f"[{_PYTHON}]")),
    Shape(
        "Llama <|python_tag|>", _said("<|python_tag|>" + "; ".join(json.dumps(call(n, "parameters")) for n in (0, 1)))
    ),
    Shape("bare JSON call", _said(json.dumps([call(0), call(1)]))),
    Shape(
        "Glaive <functioncall>",
        [
            {
                "system": _GLAIVE,
                "chat": _GLAIVE_CHAT,
            }
        ],
    ),
)
