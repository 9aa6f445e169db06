"""Every operation has every layer (csrc/README.md, "One operation, end to end"); what is missing is named."""

import inspect
import re
from pathlib import Path

import pytest

from saccade import classic, nn, ops

ROOT = Path(__file__).resolve().parent.parent
DEFINITION = re.compile(r'm\.def\(\s*"(\w+)\(')


def text_of(folder, pattern):
    return "\n".join(path.read_text() for path in sorted((ROOT / folder).glob(pattern)))


SCHEMAS = DEFINITION.findall(text_of("csrc/bind_torch", "*.cpp"))
PUBLIC = [name for name in SCHEMAS if not name.startswith("_")]
STEMS = sorted(path.stem for path in (ROOT / "csrc/bind_torch").glob("*.cpp"))


def assert_complete(found):
    assert {layer for layer, there in found.items() if not there} == set()


def test_schemas_are_found():
    assert "nms" in PUBLIC
    assert "_roi_align_backward" in SCHEMAS


# What CUDA leaves to torch's own sorting, registered in Python.
SORTED_BY_TORCH = {"best_above"}


@pytest.mark.parametrize("stem", STEMS)
def test_files_of_an_operation(stem):
    missing = {
        name
        for name in (
            f"csrc/ops/{stem}.h",
            f"csrc/ops/{stem}.cpp",
            f"cuda/kernels/{stem}.h",
            f"cuda/kernels/{stem}.cu",
            f"cuda/bind/{stem}.cpp",
        )
        if not (ROOT / name).exists() and not (name.startswith("cuda/") and stem in SORTED_BY_TORCH)
    }
    assert missing == set()


@pytest.mark.parametrize("name", SCHEMAS)
def test_registrations(name):
    python = text_of("python/saccade/ops", "*.py")
    found = {
        "CPU kernel": f'm.impl("{name}"' in text_of("csrc/bind_torch", "*.cpp"),
        "CUDA kernel": f'm.impl("{name}"' in text_of("cuda/bind", "*.cpp")
        or f'impl("saccade::{name}", "CUDA"' in python,
        "fake kernel": f'register_fake("saccade::{name}")' in python,
    }
    assert_complete(found)


@pytest.mark.parametrize("name", [name for name in SCHEMAS if name.endswith("_backward")])
def test_a_backward_belongs_to_an_operation(name):
    forward = name.removeprefix("_").removesuffix("_backward")
    assert forward in PUBLIC
    python = text_of("python/saccade/ops", "*.py")
    assert f'register_autograd("saccade::{forward}"' in python
    # Otherwise torch takes zeros for the second derivative.
    assert f'register_autograd("saccade::{name}"' in python or f'refuse_second_derivative("{forward}")' in python


# Operations whose plain version is that of another one, called with other arguments.
REFERENCE_OF = {"nms_padded": "nms", "multiscale_roi_align": "roi_align"}


@pytest.mark.parametrize("name", PUBLIC)
def test_layers_above(name):
    word = re.compile(rf"\b{name}\b")
    tests = [path.read_text() for path in (ROOT / "tests/ops").glob("*.py")]
    found = {
        "public function": name in ops.__all__,
        "test": any(f"ops.{name}(" in text or f'"{name}"' in text for text in tests),
        "opcheck": any("opcheck(" in text and word.search(text) for text in tests),
        "reference": f"def {REFERENCE_OF.get(name, name)}(" in text_of("python/saccade/reference", "*.py"),
        "benchmark": word.search(text_of("benchmarks/cases", "*.py")),
        "guide": f"`{name}" in text_of("docs", "*.md"),
    }
    assert_complete(found)


@pytest.mark.parametrize("module", [ops, classic, nn], ids=["ops", "classic", "nn"])
def test_public_names_are_documented_and_tested(module):
    tests = text_of("tests", "**/*.py")
    undocumented = [name for name in module.__all__ if not (inspect.getdoc(getattr(module, name)) or "").strip()]
    untested = [name for name in module.__all__ if not re.search(rf"\b{name}\b", tests)]
    assert undocumented == []
    assert untested == []
