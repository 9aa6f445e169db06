"""What the built modules carry with them."""

import os
import re
import subprocess
import sys

import pytest

from saccade._native import MODULE_FOLDER

MODULES = sorted(MODULE_FOLDER.glob("_*.so"))


def test_modules_are_there():
    names = [module.name.split(".")[0] for module in MODULES]
    assert "_numpy" in names
    assert "_torch" in names


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_no_path_of_the_build_machine(module):
    dynamic = subprocess.run(["readelf", "-d", str(module)], capture_output=True, text=True, check=True).stdout
    assert "RPATH" not in dynamic
    assert "RUNPATH" not in dynamic
    sources = re.findall(rb"(?<![\w.])/[\w.+-]+/[\w./+-]*\.(?:cpp|cuh|cu|hpp|h)\b", module.read_bytes())
    assert sorted(set(sources)) == []


def test_no_torch_library_inside():
    assert [path.name for path in MODULE_FOLDER.rglob("lib*.so*")] == []


def run(code, **env):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env or None, check=False)


def test_import_loads_neither_torch_nor_numpy():
    result = run("import sys, saccade; print('torch' in sys.modules, 'numpy' in sys.modules)")
    assert result.stdout.split() == ["False", "False"], result.stderr


def test_numpy_half_works_without_torch():
    result = run(
        "import sys; sys.modules['torch'] = None\n"
        "import saccade.classic, saccade._numpy as m, numpy as np\n"
        "print(m.nms(np.array([[0, 0, 1, 1]], 'f'), np.array([1], 'f'), 0.5), saccade.get_num_threads() >= 1)"
    )
    assert result.stdout.split() == ["[0]", "True"], result.stderr


def test_unknown_instruction_set_is_named():
    result = run(
        "import saccade._numpy as m; m.active_isa()",
        **{**os.environ, "SACCADE_ISA": "avx3"},
    )
    assert "ValueError: SACCADE_ISA must be generic, avx2, avx512 or avx512_bf16, got 'avx3'" in result.stderr


def test_forced_instruction_set_is_used():
    result = run("import saccade._numpy as m; print(m.active_isa())", **{**os.environ, "SACCADE_ISA": "generic"})
    assert result.stdout.strip() == "generic", result.stderr


def test_one_setting_governs_both_thread_pools():
    result = run("import torch, saccade; torch.set_num_threads(1); print(saccade.get_num_threads())")
    assert result.stdout.strip() == "1", result.stderr
    result = run("import saccade, torch; saccade.set_num_threads(1); print(torch.get_num_threads())")
    assert result.stdout.strip() == "1", result.stderr
