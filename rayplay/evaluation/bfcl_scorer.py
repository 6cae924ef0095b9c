"""First messages of sampled episodes -> official BFCL verdicts, by a scoring process that lives as long as a run.

For scores inside the loop: the rollout workers sample, BFCL's own checker judges, and no server is started. The prompt
is the one that training uses. Only single-turn categories: the others need BFCL's own conversation loop.
"""

import json
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path

from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl import Verdict
from rayplay.evaluation.bfcl_environment import SCRIPTS, bfcl_python, official_environment
from rayplay.records import Json, Message, Task, ToolSpec, Trajectory

START_S, ANSWER_S = 180.0, 120.0


def bfcl_tasks(cases: Iterable[Json]) -> list[Task]:
    """Cases as the official handler shows them -> tasks whose ids are the cases' ids.

    Raises:
        EvaluationError: A case has several turns.
    """
    tasks = []
    for case in cases:
        if len(case["turns"]) != 1:
            raise EvaluationError(f"{case['id']} has several turns; in the loop only single-turn categories are scored")
        functions = [tool["function"] for tool in case["tools"]]
        tools = tuple(
            ToolSpec(name=f["name"], description=f["description"], parameters=f["parameters"]) for f in functions
        )
        messages = tuple(Message(role=m["role"], content=m["content"]) for m in case["turns"][0])
        tasks.append(
            Task(
                task_id=case["id"],
                source="bfcl",
                kind=case["category"],
                messages=messages,
                tools=tools,
                licence="Apache-2.0",
            )
        )
    return tasks


def answer_of(trajectory: Trajectory) -> Json:
    """What the official handler would have read from the first message: calls, or its text where none could be read."""
    turn = trajectory.turns[0] if trajectory.turns else None
    calls = [call for call in turn.calls if call.problem is None] if turn else []
    spoken = turn.content or " ".join(call.raw for call in turn.calls) if turn else ""
    result = [{call.name: json.dumps(call.arguments)} for call in calls] or spoken
    return {"id": trajectory.task.task_id, "category": trajectory.task.kind, "result": result}


class OfficialScorer:
    """BFCL's checker behind a pipe. It ends when this object is closed or this process ends."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "scorer.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(bfcl_python()), str(SCRIPTS / "driver.py"), "score"],
                env=official_environment(folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._log = folder / "scorer.log"
        self._read(START_S)

    def score(self, trajectories: Iterable[Trajectory], model: str) -> list[Verdict]:
        """Verdicts on the first messages of episodes over `bfcl_tasks`, in their order.

        Raises:
            EvaluationError: The scoring process has ended or is silent.
        """
        verdicts = []
        for trajectory in trajectories:
            answer = answer_of(trajectory)
            try:
                self._process.stdin.write(json.dumps(answer) + "\n")
                self._process.stdin.flush()
            except BrokenPipeError as error:
                raise EvaluationError(f"BFCL's scoring process has ended; {self._log} says why") from error
            said = self._read(ANSWER_S)
            verdicts.append(
                Verdict(
                    case=said["id"],
                    category=answer["category"],
                    model=model,
                    valid=said["valid"],
                    error_type=said["error_type"],
                )
            )
        return verdicts

    def close(self) -> None:
        """End the process: it leaves when its stdin closes."""
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _read(self, deadline_s: float) -> Json:
        watchdog = threading.Timer(deadline_s, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        if not line:
            raise EvaluationError(f"BFCL's scoring process ended or was silent for {deadline_s:.0f} s; see {self._log}")
        return json.loads(line)
