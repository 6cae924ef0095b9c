"""Nothing -> a Python environment of its own for the official BFCL package, made once by uv, kept in the cache.

bfcl-eval pins packages that vLLM cannot live with, so it never enters the environment that rayplay runs in. The folder
is named after everything that decides its content and appears by rename: it is whole or not there.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from rayplay.errors import EvaluationError

BFCL_VERSION = "2026.3.23"
REQUIREMENTS = (f"bfcl-eval=={BFCL_VERSION}", "transformers>=5.16,<5.20", "soundfile>=0.13")
# Wanted only by memory_vector, which needs a download besides; they would triple the environment's size.
LEFT_OUT = ("sentence-transformers", "faiss-cpu")
SCRIPTS = Path(__file__).with_name("bfcl_scripts")
DEADLINE_S = 900.0


def bfcl_python() -> Path:
    """The interpreter of BFCL's environment; makes the environment where it is missing (about 20 s, 440 MB).

    Raises:
        EvaluationError: uv is missing, or the packages cannot be had; the message ends with uv's own words.
    """
    folder = environment_folder()
    python = folder / "bin" / "python"
    if python.exists():
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two evaluations at once: the second waits and finds it made
        if not python.exists():
            _make(folder)
    return python


def environment_folder() -> Path:
    """Where the environment stands: the cache of rayplay, a folder per set of requirements and Python version."""
    cache = Path(os.environ.get("RAYPLAY_CACHE") or Path.home() / ".cache" / "rayplay")
    content = "\n".join([*REQUIREMENTS, *LEFT_OUT, sys.version.split()[0]])
    return cache.absolute() / "bfcl" / hashlib.sha256(content.encode()).hexdigest()[:12]


def official_environment(project_root: Path, **extra: str) -> dict[str, str]:
    """Environment variables of a process in BFCL's environment: nothing of ours, its files in `project_root`."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_PRELOAD", "OPENAI_API_KEY", "OPENAI_DEFAULT_HEADERS")
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    quiet = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1", "TQDM_MININTERVAL": "5"}
    return {**kept, **quiet, "OPENAI_API_KEY": "none", "BFCL_PROJECT_ROOT": str(project_root.absolute()), **extra}


def _make(folder: Path) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise EvaluationError("BFCL needs an environment of its own, made by `uv`, which is not here; `pip install uv`")
    overrides = folder.parent / f".{folder.name}.overrides"
    overrides.write_text("".join(f'{name}; sys_platform == "never"\n' for name in LEFT_OUT), encoding="utf-8")
    staging = folder.parent / f".{folder.name}.{os.getpid()}"
    # Relocatable, so that the rename at the end does not break its scripts.
    _run([uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(staging)])
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(staging / "bin" / "python")]
    try:
        _run([*install, "--override", str(overrides), *REQUIREMENTS])
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _run(command: list[str]) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EvaluationError(
            f"BFCL's environment was not made: {error}; try again, nothing is left half done"
        ) from error
    if done.returncode:
        said = " ".join(done.stderr.split())[-400:]
        raise EvaluationError(
            f"BFCL's environment was not made: `{' '.join(command[:3])}` failed; it needs a package registry "
            f"that serves {REQUIREMENTS[0]} (uv reads UV_INDEX_URL, not pip's configuration). uv said: {said}"
        )
