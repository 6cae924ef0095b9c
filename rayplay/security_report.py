"""This machine and a recipe -> what stands open: one row a fact, and whether what is promised of it holds.

A row with `held` False is a promise that does not hold here; None is a fact without a promise.
"""

import asyncio
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from rayplay.actors.key_gate import KEY, OPEN, KeyGate
from rayplay.listening import Listening, environment_of, listening_of_all
from rayplay.models.resolve import cache_dir
from rayplay.recipe import Recipe
from rayplay.records import Json
from rayplay.sandbox import IsolationReport, Level
from rayplay.trust import is_set, trusted_by

OTHERS = stat.S_IRWXG | stat.S_IRWXO
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
OURS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # "0" in the environment of what a local run started
TRAINING = "ray::RayTrainWorker"  # torch.distributed's rendezvous cannot be kept on loopback
# Tried against the model server's gate: without the key each must be refused
TRIED = (
    *("/v1/chat/completions", "/v1/models", "//v1/models", "/health", "/invocations", "/tokenize", "/detokenize"),
    *("/metrics", "/docs", "/openapi.json", "/ping", "/v1/load_lora_adapter", "/"),
)


class Row(NamedTuple):
    """One fact."""

    area: str
    what: str
    found: str
    held: bool | None = None


def security_rows(recipe: Recipe | None, config: Path | None, nodes: dict[str, IsolationReport]) -> list[Row]:
    """All facts. `nodes` holds what the canaries proved on each node, by its name."""
    rows = [*listening_rows(listening_of_all()), *file_rows(config), *route_rows()]
    need = recipe.sandbox.require if recipe else "L2"
    return rows + isolation_rows(nodes, need) + (recipe_rows(recipe) if recipe else [])


def listening_rows(found: Iterable[Listening]) -> list[Row]:
    """What this account's processes listen on; those of a local run must be on loopback."""
    rows = []
    for entry in found:
        promised = environment_of(entry.pid).get(OURS) == "0" and not entry.command.startswith(TRAINING)
        where = "this machine alone" if entry.loopback else "all who can reach this machine"
        held = entry.loopback if promised else None
        rows.append(Row("listens", f"{entry.address}:{entry.port}", f"{where}; {entry.command[:60]}", held))
    return rows or [Row("listens", "nothing", "no process of this account accepts TCP connections")]


def file_rows(config: Path | None) -> list[Row]:
    """Modes of what holds private things, or could change what is run."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    rows = [_mode("Ray's token file", token, OTHERS)]
    rows += [_mode("Ray's folder of a local run", path, OTHERS) for path in _ray_folders()]
    rows.append(_mode("converted models", cache_dir(), OTHERS_WRITE))
    if config is not None:
        run = Path("runs") / config.stem
        rows += [_mode("recipe", config, OTHERS_WRITE), _mode("tools", Path("tools"), OTHERS_WRITE)]
        rows += [_mode("run folder", run, OTHERS), _mode("manifest", run / "manifest.json", OTHERS)]
    return rows


def route_rows() -> list[Row]:
    """What the model server's gate lets through, tried here."""
    open_without_key = [path for path in TRIED if asyncio.run(_status_without_key(path)) != 401]
    offered = ", ".join(f"{method} {path}" for method, path in sorted(OPEN))
    return [
        Row("routes", "model server, with the key", f"{offered}; all else is closed"),
        Row(
            "routes",
            "model server, without the key",
            f"open: {', '.join(open_without_key)}" if open_without_key else f"none of {len(TRIED)} that were tried",
            not open_without_key,
        ),
        Row("routes", "BFCL's known answers", "POST with the key, on 127.0.0.1"),
        Row("routes", "Ray's dashboard", "its API asks for Ray's token; its start page, without data, does not"),
    ]


def isolation_rows(nodes: dict[str, IsolationReport], require: str) -> list[Row]:
    """The level that is proven on each node beside the one that is required."""
    return [
        Row(
            "isolation",
            name,
            f"{report.level.value}, required {require}; not held: {', '.join(report.not_held) or 'nothing tried'}",
            report.level >= Level(require),
        )
        for name, report in nodes.items()
    ]


def recipe_rows(recipe: Recipe) -> list[Row]:
    """What the recipe trusts, and whether the variables that it names are set here."""
    rows = []
    for item in trusted_by(recipe):
        unset = [name for name, there in is_set(item.secrets).items() if not there]
        told = ", ".join(f"{name} {'is not set' if name in unset else 'is set'}" for name in item.secrets)
        found = "; ".join(filter(None, [item.held or "trusted: nothing holds it", told]))
        optional = item.what == "judge"  # a server of one's own may ask for no key
        rows.append(
            Row("recipe", f"{item.what} {item.name}", found, None if optional or not item.secrets else not unset)
        )
    return rows


def as_json(rows: list[Row]) -> Json:
    """{"rows", "not_held"}."""
    return {
        "rows": [row._asdict() for row in rows],
        "not_held": [f"{row.area}: {row.what}" for row in rows if row.held is False],
    }


def _mode(what: str, path: Path, forbidden: int) -> Row:
    try:
        found = path.stat()
    except OSError:
        return Row("files", f"{what} {path}", "is not there")
    mode = stat.S_IMODE(found.st_mode)
    sticky = found.st_uid in (0, os.geteuid())
    return Row("files", f"{what} {path}", f"{mode:04o}, uid {found.st_uid}", sticky and not mode & forbidden)


def _ray_folders() -> list[Path]:
    roots = {Path(tempfile.gettempdir()), Path("/tmp")}
    found = {path.parent for root in roots for path in root.glob("rayplay-*/r") if path.is_dir()}
    return sorted(path for path in found if path.stat().st_uid == os.geteuid())


async def _status_without_key(path: str) -> int:
    sent: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    gate = KeyGate(application, key=f"tried-{KEY}")
    await gate({"type": "http", "method": "GET", "path": path, "headers": []}, receive, send)
    return sent[0]["status"]
