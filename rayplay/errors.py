"""What users can do wrong, one class each: the message names the thing, the value seen and the next step.

Every error here carries one string, so it pickles across Ray. The command line turns any of them into exit code 2.
"""


class RayplayError(Exception):
    """Base of all errors that a user can mend; the command line prints the message alone."""


class RecipeError(RayplayError):
    """A recipe that cannot be read, or that asks for something impossible."""


class ModelError(RayplayError):
    """A model that is missing, incomplete or does not fit its dialect."""


class ToolboxError(RayplayError):
    """A tool that cannot be found, loaded or described."""


class DataError(RayplayError):
    """A data source with nothing usable, or in another format than stated."""


class RunFolderError(RayplayError):
    """A run folder that is not writable, belongs to another recipe, or is damaged."""


class ResourceError(RayplayError):
    """The machine or cluster cannot hold what the recipe asks for."""


class SandboxError(RayplayError):
    """The isolation in force is below what the recipe requires."""


class AlarmError(RayplayError):
    """A run that stopped because what it produces cannot teach (no calls, no pairs, NaN)."""


class EvaluationError(RayplayError):
    """An evaluation that cannot be carried out."""
