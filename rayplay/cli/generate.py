"""`rayplay generate-data CONFIG`: the rows of a recipe's generating sources, as chat lines."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from rayplay.checking import Checked, check, load_tools, tool_modules
from rayplay.data.mixing import token_lengths
from rayplay.data.prepare import LoadTeacher, no_teacher, prepare, wants_teacher
from rayplay.data.writing import write_records
from rayplay.errors import ResourceError
from rayplay.opening import open_recipe_cluster, teacher_loader
from rayplay.output_paths import check_output_folder
from rayplay.recipe import Recipe
from rayplay.recipe_text import load_recipe
from rayplay.records import Json, Status, ToolCall, ToolResult, digest
from rayplay.sandbox import Sandbox
from rayplay.sinks import print_json, print_text
from rayplay.toolbox import find_tool

generate_data_app = typer.Typer(add_completion=False)


@generate_data_app.command(
    epilog="Examples: `rayplay generate-data configs/sft_zoo.json --rows 2000`; "
    "`rayplay generate-data configs/teacher_mode.json --output-dir generated`"
)
def command(
    config: Annotated[str, typer.Argument(help="Recipe; its `data` section says what is made.")],
    output_dir: Annotated[Path | None, typer.Option(help="Folder to write; default generated/<name>.")] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Training rows; default the recipe's data.train_tasks.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Override, as section.key=value.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Make demonstrations and tasks (templates, zoo, synthetic ToolBench, teacher) and write them as JSON lines.

    Tools of the recipe are really executed, in the sandbox: labels are what they return.
    """
    extra = (f"data.train_tasks={rows}",) if rows else ()
    recipe = load_recipe(config, (*(overrides or ()), *extra))
    folder = output_dir or Path("generated") / Path(config).stem
    check_output_folder(folder)
    checked = check(recipe) if wants_teacher(recipe.data) else None
    specs = checked.specs if checked else load_tools(recipe)
    settings = recipe.sandbox
    with Sandbox(tool_modules(recipe), require=settings.require, size=1, allow=settings.allow) as sandbox:

        def execute(name: str, arguments: Json, state: str | None = None) -> ToolResult:
            call = ToolCall(call_id=digest([name, arguments]), name=name, arguments=arguments)
            result = sandbox.run(find_tool(specs, name), call, state=state)
            if result.status is Status.UNAVAILABLE:
                raise ResourceError(f"tool {name!r} was unavailable while labels were made; run the command again")
            return result

        with _teachers(recipe, checked) as load_teacher:
            prepared = prepare(
                recipe.data, specs, execute, seed=recipe.seed, demonstrations=0, load_teacher=load_teacher
            )
    for name, records in prepared._asdict().items():
        write_records(folder / f"{name}.jsonl", records)
    counts = {name: len(records) for name, records in prepared._asdict().items()}
    characters = token_lengths(prepared.demonstrations, len)
    if as_json:
        print_json({**counts, "characters": characters, "out": str(folder)})
    else:
        made = ", ".join(f"{count} {name.replace('_', '-')}" for name, count in counts.items())
        print_text(f"{folder}: {made}; {characters.get('median', 0)} characters in the median row")


@contextmanager
def _teachers(recipe: Recipe, checked: Checked | None) -> Iterator[LoadTeacher]:
    """Starts teachers, on the recipe's cluster, where a source wants one and the recipe was checked for it."""
    if checked is None:
        yield no_teacher
        return
    with open_recipe_cluster(recipe):
        yield teacher_loader(recipe, checked.facts)
