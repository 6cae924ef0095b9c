"""A raw MCP server over stdio that says what a plan (a JSON file) tells it, well-formed or not.

Plan: "tools" the list, "pages" the same list again as further pages without end, "results" by tool name, "first" a
text to print before all else, "raw" texts to print instead of a result ({id} is filled in), "child" a process to
leave behind, "late" methods that are never answered.
"""

import json
import os
import subprocess
import sys

with open(sys.argv[1]) as file:
    plan = json.load(file)
calls = 0
if plan.get("first"):
    os.write(1, plan["first"].encode("utf-8", "surrogateescape"))
if plan.get("child"):
    sleeping = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"]
    child = subprocess.Popen(sleeping, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    with open(plan["child"], "w") as file:
        file.write(str(child.pid))
for line in sys.stdin:
    message = json.loads(line)
    method, number = message.get("method"), message.get("id")
    if number is None or method in plan.get("late", ()):
        continue
    answer = {"jsonrpc": "2.0", "id": number}
    if method == "initialize":
        version = message["params"]["protocolVersion"]
        about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "plan", "version": "1"}}
        answer["result"] = {"protocolVersion": version, **about}
    elif method == "tools/list":
        answer["result"] = {"tools": plan["tools"]}
        if plan.get("pages"):
            cursor = int(message.get("params", {}).get("cursor") or 0) + 1
            fresh = [{**tool, "name": f"{tool['name']}_{cursor}"} for tool in plan["tools"]]
            answer["result"] = {"tools": fresh, "nextCursor": str(cursor)}
    elif method == "tools/call":
        calls += 1
        name = message["params"]["name"]
        default = {"content": [{"type": "text", "text": f"{name} {calls}"}]}
        answer["result"] = plan.get("results", {}).get(name, default)
        if name in plan.get("raw", {}):
            os.write(1, plan["raw"][name].replace("{id}", json.dumps(number)).encode() + b"\n")
            continue
    else:
        answer["error"] = {"code": -32601, "message": "no such method"}
    print(json.dumps(answer), flush=True)
