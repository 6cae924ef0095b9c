"""A tool call -> its result, with the kernel between the tool and the machine.

    with Sandbox(("tools.calculator",)) as sandbox:
        result = sandbox.run(sandbox.describe()[0], call)

What a call printed (to stdout or stderr, from Python or C) comes first in the result's text, then what the tool
returned: a str as it is, None as nothing, anything else as JSON. A tool reads and writes files in its working
directory, which is empty at the start and emptied at the end of every call.

Names are loaded when asked for: the zygote imports parts of this package and must stay small.
"""

import importlib

_HOME = {
    "Sandbox": "pool",
    "Level": "levels",
    "Limits": "levels",
    "IsolationReport": "levels",
    "isolation_report": "probe",
    "require_level": "probe",
    "neutralise": "hygiene",
    "shorten": "hygiene",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
