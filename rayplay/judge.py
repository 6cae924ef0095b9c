"""A model behind an OpenAI-compatible endpoint as a reward: how good a final answer is, asked once and remembered.

A judge that fails or takes too long says nothing about the sample: its part is then left out of the mean, and the
sample is not paired with graded ones.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rayplay.chat_endpoint import NoReply, ask, open_client
from rayplay.errors import AlarmError
from rayplay.grades import read_grade
from rayplay.recipe import JudgeSettings
from rayplay.records import Json, Trajectory, digest
from rayplay.rewards import final_answer, results_of

HOPELESS = 16  # answers without a grade, and none with one: the judge is not there
TRIES = 2
READING = "grades/2"  # changes where replies come to be read otherwise: grades read before are then asked for again


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
                key, grade = entry["key"], float(entry["score"])
            except (ValueError, KeyError, TypeError):  # a line cut by a kill is asked again
                continue
            if 0 <= grade <= 1:
                self._grades[key] = grade
        self.graded = self.failures = 0
        self.why_none: Counter[str] = Counter()  # why answers have no grade

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
                f"judge.model and the key in {self._settings.api_key_env}, or raise judge.deadline_s; "
                f"most often: {self.why_none.most_common(1)[0][0]}"
            )

    def __call__(self, trajectory: Trajectory) -> float | None:
        """Score in [0, 1]; 0.0 without a final answer; None where the judge gave no number in time."""
        if not final_answer(trajectory):
            return 0.0
        self.prepare([trajectory])
        return self._grades[self._key(self._question(trajectory))]

    def _key(self, question: str) -> str:
        return digest([READING, self._settings.model, question], 24)

    def _question(self, trajectory: Trajectory) -> str:
        said = "\n".join(f"{m.role}: {m.content}" for m in trajectory.task.messages)
        results = "\n".join(f"{r.name}: {r.text}" for r in results_of(trajectory)) or "none"
        wanted = "; ".join(" or ".join(answers) for answers in trajectory.task.expected.answers) or "not given"
        return (
            f"{self._settings.question}\n\n<request>\n{said}\n</request>\n<tool_results>\n{results}\n</tool_results>\n"
            f"<expected>{wanted}</expected>\n<answer>\n{final_answer(trajectory)}\n</answer>"
        )

    async def _ask_all(self, questions: list[str]) -> list[float | None]:
        settings = self._settings
        gate = asyncio.Semaphore(settings.concurrency)
        try:
            client = open_client(settings.base_url, os.environ.get(settings.api_key_env, "none"))
        except NoReply as reason:
            self.why_none[str(reason)] += len(questions)
            return [None] * len(questions)

        async def grade(question: str) -> float | None:
            async with gate:
                for _ in range(TRIES):
                    try:
                        text = await ask(client, self._request(question), settings.deadline_s)
                    except NoReply as reason:
                        why = str(reason)
                        continue
                    found = read_grade(text)
                    if found is None:
                        self.why_none["the reply holds no grade"] += 1
                    return found
            self.why_none[why] += 1
            return None

        async with client:
            return await asyncio.gather(*map(grade, questions))

    def _request(self, question: str) -> Json:
        settings = self._settings
        return {
            "model": settings.model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0.0,
            "max_tokens": settings.max_tokens,
        }
