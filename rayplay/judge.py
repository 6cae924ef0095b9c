"""A model behind an OpenAI-compatible endpoint as a reward: how good a final answer is, asked once and remembered.

A judge that fails or takes too long says nothing about the sample: its part is then left out of the mean.
"""

import json
import os
import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rayplay.recipe import JudgeSettings
from rayplay.records import Trajectory, digest
from rayplay.rewards import final_answer, results_of

if TYPE_CHECKING:
    import openai

NUMBER = re.compile(r"(?<![\d.])(10|\d)(\.\d+)?(?![\d.]*\d)")


class Judge:
    """A reward function; `prepare` asks about many samples at once.

    Args:
        settings: The recipe's section.
        cache: JSON lines of {"key", "score"}: an answer is judged once, also over runs of the same folder.
    """

    def __init__(self, settings: JudgeSettings, cache: Path) -> None:
        self._settings, self._cache = settings, cache
        self._lock = threading.Lock()
        lines = cache.read_text(encoding="utf-8").splitlines() if cache.is_file() else []
        self._known: dict[str, float] = {}
        for line in lines:
            try:
                entry = json.loads(line)
                self._known[entry["key"]] = float(entry["score"])
            except (ValueError, KeyError, TypeError):  # a line cut by a kill is asked again
                continue
        self.failures = 0

    def prepare(self, trajectories: Iterable[Trajectory]) -> None:
        """Judge many samples, `concurrency` at a time."""
        with ThreadPoolExecutor(self._settings.concurrency) as threads:
            list(threads.map(self, trajectories))

    def __call__(self, trajectory: Trajectory) -> float | None:
        """Score in [0, 1]; 0.0 without a final answer; None where the judge gave no number in time."""
        if not final_answer(trajectory):
            return 0.0
        question = self._question(trajectory)
        key = digest([self._settings.model, question], 24)
        if key not in self._known:
            score = self._ask(question)
            if score is None:
                self.failures += 1
                return None
            with self._lock:
                self._known[key] = score
                with self._cache.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"key": key, "score": score}) + "\n")
        return self._known[key]

    @cached_property
    def _client(self) -> "openai.OpenAI":
        import openai  # seconds to import; most runs have no judge

        settings = self._settings
        key = os.environ.get(settings.api_key_env, "none")
        return openai.OpenAI(base_url=settings.base_url, api_key=key, timeout=settings.deadline_s, max_retries=1)

    def _question(self, trajectory: Trajectory) -> str:
        said = "\n".join(f"{m.role}: {m.content}" for m in trajectory.task.messages)
        results = "\n".join(f"{r.name}: {r.text}" for r in results_of(trajectory)) or "none"
        wanted = "; ".join(map(str, trajectory.task.expected.answer)) or "not given"
        return (
            f"{self._settings.question}\n\n<request>\n{said}\n</request>\n<tool_results>\n{results}\n</tool_results>\n"
            f"<expected>{wanted}</expected>\n<answer>\n{final_answer(trajectory)}\n</answer>"
        )

    def _ask(self, question: str) -> float | None:
        import openai

        try:
            reply = self._client.chat.completions.create(
                model=self._settings.model,
                messages=[{"role": "user", "content": question}],
                temperature=0.0,
                max_tokens=self._settings.max_tokens,
            )
        except openai.OpenAIError:
            return None
        found = NUMBER.findall((reply.choices[0].message.content or "") if reply.choices else "")
        return min(1.0, float("".join(found[-1])) / 10) if found else None
