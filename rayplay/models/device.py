"""The machine -> dtype, threads and environment for engines and trainers. Imports neither torch nor vllm."""

import ctypes.util
import os
import shutil
import sys
from pathlib import Path

# Told to every process that we start: nothing phones home, no progress bars of libraries, no fork warnings.
QUIET_ENV = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def has_gpu() -> bool:
    """Whether an NVIDIA driver answers here (the same test as in the Makefile)."""
    return shutil.which("nvidia-smi") is not None and Path("/proc/driver/nvidia/version").exists()


def count_gpus() -> int:
    """NVIDIA GPUs that this process may use, as Ray counts them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not has_gpu():
        return 0
    if visible is None:
        return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    return len([number for number in visible.split(",") if number.strip() not in ("", "-1")])


def choose_dtype(requested: str, *, gpu: bool) -> str:
    """ "auto" -> bfloat16 where the processor computes in it, else float32 (emulated bfloat16 is 50 times slower)."""
    if requested != "auto":
        return requested
    return "bfloat16" if gpu or cpu_has_bfloat16() else "float32"


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 natively (AVX512-BF16 or AMX)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def usable_cores() -> list[int]:
    """The cores that this process may run on."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def allocator_env() -> dict[str, str]:
    """LD_PRELOAD of tcmalloc and Intel's OpenMP where both kinds of file exist; else glibc told to keep big blocks.

    Training allocates and frees the same large tensors every step; glibc gives each back to the kernel and pays page
    faults for it. Nothing here is required.
    """
    openmp = Path(sys.prefix) / "lib" / "libiomp5.so"
    tcmalloc = ctypes.util.find_library("tcmalloc_minimal") or ctypes.util.find_library("tcmalloc")
    preload = [str(openmp)] if openmp.exists() else []
    quick_sleep = {"KMP_BLOCKTIME": "1"} if preload else {}  # ms: idle threads must not spin on a core that others need
    if tcmalloc:
        return {"LD_PRELOAD": ":".join([tcmalloc, *preload]), **quick_sleep}
    keep = {
        "MALLOC_MMAP_THRESHOLD_": "4294967296",
        "MALLOC_TRIM_THRESHOLD_": "17179869184",
        "MALLOC_TOP_PAD_": "268435456",
    }
    return {**keep, **({"LD_PRELOAD": preload[0]} if preload else {}), **quick_sleep}


def engine_env(cores: list[int], kv_cache_gib: int) -> dict[str, str]:
    """Environment of a vLLM engine on these cores; must stand before vllm is imported."""
    return {
        **QUIET_ENV,
        **allocator_env(),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)),
        "OMP_NUM_THREADS": str(len(cores)),
    }
