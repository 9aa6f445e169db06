"""No instruction of a wide instruction set may stand in code that every processor runs.

A function that two objects share by name (a weak symbol) is merged by the linker, and the AVX-512 copy may win: then
the library dies with an illegal instruction on a machine without it. So every function of the built modules outside
the namespaces of the wide levels is disassembled and searched for VEX and EVEX instructions, and every one outside
avx512_bf16 for that level's own.
"""

import platform
import re
import shutil
import subprocess

import pytest

from saccade._native import MODULE_FOLDER

MODULES = sorted(MODULE_FOLDER.glob("_*.so"))
WIDE_NAMESPACES = ("7saccade4avx2", "7saccade6avx512", "7saccade11avx512_bf16")
# Every VEX or EVEX mnemonic starts with v; verr and verw are old ones that do too.
BF16_INSTRUCTION = re.compile(r"^\s+[0-9a-f]+:\s+v(dpbf16ps|cvtne2?ps2bf16)\s")
WIDE_INSTRUCTION = re.compile(r"^\s+[0-9a-f]+:\s+v(?!err|erw)[a-z0-9]+\s")


def functions(module):
    """Yield (mangled name, lines of disassembly) of every function."""
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", "-w", str(module)], capture_output=True, text=True, check=True
    ).stdout
    name, lines = None, []
    for line in listing.splitlines():
        head = re.match(r"^[0-9a-f]+ <(.+)>:$", line)
        if head:
            if name:
                yield name, lines
            name, lines = head[1], []
        else:
            lines.append(line)
    if name:
        yield name, lines


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="levels exist on x86-64 only")
@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_wide_instructions_stay_in_their_namespaces(module):
    assert shutil.which("objdump"), "objdump (binutils) is needed to check the built modules"
    wide_levels, leaks = set(), []
    for name, lines in functions(module):
        wide = any(WIDE_INSTRUCTION.match(line) for line in lines)
        level = next((space for space in WIDE_NAMESPACES if space in name), None)
        if level != WIDE_NAMESPACES[-1] and any(BF16_INSTRUCTION.match(line) for line in lines):
            leaks.append(name)
        if wide and level:
            wide_levels.add(level)
        elif wide:
            leaks.append(name)
    assert leaks == []
    if "_cuda" not in module.name:
        # Only convolutions have kernels of the last level, and those are torch's.
        expected = WIDE_NAMESPACES if module.name.startswith("_torch") else WIDE_NAMESPACES[:2]
        assert wide_levels == set(expected), "the check sees no wide code: are the symbols stripped?"
