"""What the first training worker tells the driver. A module of its own: its process must not load torch."""

import ray

from rayplay.errors import RayplayError
from rayplay.records import Json


class Mailbox:
    """Metrics of each step, then the result or the user's mistake."""

    def __init__(self) -> None:
        self._steps: dict[int, Json] = {}
        self._result: Json | None = None
        self._error: RayplayError | None = None

    def post(self, entry: Json) -> None:
        """Keep one step; a resumed run repeats the steps since its checkpoint."""
        self._steps[entry["step"]] = entry

    def steps(self) -> list[Json]:
        """All steps so far, in order."""
        return [self._steps[step] for step in sorted(self._steps)]

    def deliver(self, result: Json) -> None:
        """Keep the result."""
        self._result = result

    def fail(self, error: RayplayError) -> None:
        """Keep what the user has to mend."""
        self._error = error

    def outcome(self) -> tuple[Json | None, RayplayError | None]:
        """(result, mistake), either None."""
        return self._result, self._error


MailboxActor = ray.remote(Mailbox)
