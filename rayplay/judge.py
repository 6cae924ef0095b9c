"""A model behind an OpenAI-compatible endpoint as a reward: how good a final answer is, asked once and remembered.

A judge that fails or takes too long says nothing about the sample: its part is then left out of the mean, and the
sample is not paired with graded ones.
"""

import asyncio
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rayplay.errors import AlarmError
from rayplay.recipe import JudgeSettings
from rayplay.records import Trajectory, digest
from rayplay.rewards import final_answer, results_of

if TYPE_CHECKING:
    import openai

NUMBER = re.compile(r"(?<![\d.])(10|\d)(\.\d+)?(?![\d.]*\d)")
HOPELESS = 16  # answers without a grade, and none with one: the judge is not there
TRIES = 2


class Judge:
    """A reward function; `prepare` asks about many samples at once.

    Args:
        settings: The recipe's section.
        cache: JSON lines of {"key", "score"}: an answer is judged once, also over runs of the same folder.
    """

    def __init__(self, settings: JudgeSettings, cache: Path) -> None:
        self._settings, self._cache = settings, cache
        lines = cache.read_text(encoding="utf-8").splitlines() if cache.is_file() else []
        self._grades: dict[str, float | None] = {}  # None: asked in vain, and not again by this process
        for line in lines:
            try:
                entry = json.loads(line)
                self._grades[entry["key"]] = float(entry["score"])
            except (ValueError, KeyError, TypeError):  # a line cut by a kill is asked again
                continue
        self.graded = self.failures = 0

    def prepare(self, trajectories: Iterable[Trajectory]) -> None:
        """Judge many samples, `concurrency` at a time.

        Raises:
            AlarmError: No answer got a grade so far, and there were many.
        """
        questions = [self._question(t) for t in trajectories if final_answer(t)]
        asked = {key: question for question in questions if (key := self._key(question)) not in self._grades}
        if not asked:
            return
        found = dict(zip(asked, asyncio.run(self._ask_all(list(asked.values()))), strict=True))
        self._grades |= found
        grades = {key: grade for key, grade in found.items() if grade is not None}
        with self._cache.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({"key": key, "score": grade}) + "\n" for key, grade in grades.items())
        self.graded += len(grades)
        self.failures += len(found) - len(grades)
        if self.failures >= HOPELESS and not self.graded:
            raise AlarmError(
                f"the judge at {self._settings.base_url} graded none of {self.failures} answers; check judge.base_url, "
                f"judge.model and the key in {self._settings.api_key_env}, or raise judge.deadline_s"
            )

    def __call__(self, trajectory: Trajectory) -> float | None:
        """Score in [0, 1]; 0.0 without a final answer; None where the judge gave no number in time."""
        if not final_answer(trajectory):
            return 0.0
        self.prepare([trajectory])
        return self._grades[self._key(self._question(trajectory))]

    def _key(self, question: str) -> str:
        return digest([self._settings.model, question], 24)

    def _question(self, trajectory: Trajectory) -> str:
        said = "\n".join(f"{m.role}: {m.content}" for m in trajectory.task.messages)
        results = "\n".join(f"{r.name}: {r.text}" for r in results_of(trajectory)) or "none"
        wanted = "; ".join(map(str, trajectory.task.expected.answer)) or "not given"
        return (
            f"{self._settings.question}\n\n<request>\n{said}\n</request>\n<tool_results>\n{results}\n</tool_results>\n"
            f"<expected>{wanted}</expected>\n<answer>\n{final_answer(trajectory)}\n</answer>"
        )

    async def _ask_all(self, questions: list[str]) -> list[float | None]:
        import openai  # seconds to import; most runs have no judge

        settings = self._settings
        gate = asyncio.Semaphore(settings.concurrency)
        key = os.environ.get(settings.api_key_env, "none")
        async with openai.AsyncOpenAI(base_url=settings.base_url, api_key=key, max_retries=0) as client:

            async def ask(question: str) -> float | None:
                async with gate:
                    for _ in range(TRIES):
                        try:
                            async with asyncio.timeout(settings.deadline_s):
                                return await self._ask(client, question)
                        except (openai.OpenAIError, TimeoutError):
                            continue
                return None

            return await asyncio.gather(*map(ask, questions))

    async def _ask(self, client: "openai.AsyncOpenAI", question: str) -> float | None:
        reply = await client.chat.completions.create(
            model=self._settings.model,
            messages=[{"role": "user", "content": question}],
            temperature=0.0,
            max_tokens=self._settings.max_tokens,
        )
        found = NUMBER.findall((reply.choices[0].message.content or "") if reply.choices else "")
        return min(1.0, float("".join(found[-1])) / 10) if found else None
