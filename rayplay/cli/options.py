"""What several commands take in the same way."""

from rayplay.errors import RecipeError


def chosen_config(argument: str | None, option: str | None) -> str:
    """The recipe's path, given as an argument or as --config.

    Raises:
        RecipeError: Given neither way, or both ways differently.
    """
    if argument and option and argument != option:
        raise RecipeError(f"two recipes are given, {argument} and --config {option}; give one")
    path = argument or option
    if not path:
        raise RecipeError("no recipe is given; name one, for example configs/quickstart.json")
    return path
