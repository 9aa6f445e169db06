"""record_gpu_run.py DIR: puts the tests and benchmarks that gpu_check.sh ran into DIR/gpu_check.json.

A kernel file has run when tests marked `cuda` of the test file of the same name passed and none of them failed.
"""

import json
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def count_tests(report):
    """By test file: how many passed, failed or were skipped."""
    counts = {}
    for case in ElementTree.parse(report).iter("testcase"):
        # classname is the dotted module: tests.ops.test_nms
        name = case.get("classname", "").split(".test_")[-1].split(".")[0]
        kinds = {child.tag for child in case}
        state = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        counts.setdefault(name, Counter())[state] += 1
    return counts


def record(folder):
    """Write folder/gpu_check.json; return the kernels that have run."""
    counts = count_tests(folder / "tests.xml")
    stems = sorted(path.stem for path in ROOT.glob("cuda/kernels/*.cu"))
    kernels = [stem for stem in stems if counts.get(stem, {}).get("passed") and not counts[stem]["failed"]]
    bench = folder / "bench.json"
    result = {
        "kernels": kernels,
        "tests": {name: dict(counter) for name, counter in sorted(counts.items())},
        "benchmarks": json.loads(bench.read_text()) if bench.exists() else None,
    }
    (folder / "gpu_check.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return kernels, sorted(set(stems) - set(kernels)), sum(counts.values(), Counter())


if __name__ == "__main__":
    ran, not_ran, total = record(Path(sys.argv[1]))
    print(f"tests: {total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    print(f"kernels that ran and passed: {', '.join(ran) or 'none'}")
    print(f"kernels that did not: {', '.join(not_ran) or 'none'}")
