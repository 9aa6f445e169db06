"""Minimum cuts beside PyMaxflow, and GrabCut beside OpenCV's.

PyMaxflow (GPL) is not a dependency of anything here; where it is not installed, the table says so. Each comparison also
asks for an energy that is no higher, and graph_cut's for at most half of PyMaxflow's memory.
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.benchmarking import Case, Difference, Work, reference

STEPS = ((1, 0), (0, 1), (1, 1), (1, -1))
PROBLEMS = {
    "denoise": "binary denoising",
    "contrast": "dark from bright, contrast-sensitive",
    "seeds": "two seeds, contrast-sensitive",
}
RECT = (120, 10, 270, 490)


def cases(quick: bool) -> Iterator[Case]:
    for dtype in ("float32", "float64", "int32"):
        for connectivity in (4, 8):
            for problem, text in PROBLEMS.items():
                if quick and (problem == "seeds" or dtype != "float32"):
                    continue
                yield Case(
                    name=f"graph_cut/{problem}-{connectivity}-{dtype}",
                    operation="graph_cut",
                    size=f"{text}, 512×512, {connectivity} neighbours, {dtype}",
                    bar=2.0,
                    prepare=partial(_cut, problem, connectivity, dtype),
                )
    yield Case(
        name="grab_cut/astronaut-512x512",
        operation="grab_cut",
        size="512×512, rectangle, 5 iterations",
        threads=(1, 2),
        bar=4.0,
        prepare=_grab_cut,
    )


def problem_of(problem: str, connectivity: int, dtype: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Costs ``(2, 512, 512)`` and weights ``(connectivity / 2, 512, 512)``."""
    from skimage import data

    colours = data.astronaut().astype(np.float64)
    grey = colours.mean(-1) / 255
    rng = np.random.default_rng(0)
    unary = np.zeros((2, *grey.shape))
    if problem == "denoise":
        unary[0] = np.abs(grey + rng.normal(0, 0.5, grey.shape)) * 100
        unary[1] = np.abs(1 - grey + rng.normal(0, 0.5, grey.shape)) * 100
    elif problem == "contrast":
        unary[0], unary[1] = np.maximum(grey - 0.47, 0) * 100, np.maximum(0.47 - grey, 0) * 100
    else:
        unary[0, 200:210, 200:260] = unary[1, :2] = unary[1, -2:] = unary[1, :, :2] = 1e4
    weights = np.full((connectivity // 2, *grey.shape), 40.0)
    if problem != "denoise":
        squares = [((colours - np.roll(colours, step, (0, 1))) ** 2).sum(-1) for step in STEPS]
        beta = 1 / (2 * np.mean(squares))
        for k in range(connectivity // 2):
            back = (-STEPS[k][0], -STEPS[k][1])
            ahead = ((colours - np.roll(colours, back, (0, 1))) ** 2).sum(-1)
            weights[k] = 50 / np.hypot(*STEPS[k]) * np.exp(-beta * ahead)
    if dtype == "int32":
        return np.round(unary * 10).astype(np.int32), np.round(weights * 10).astype(np.int32)
    return unary.astype(dtype), weights.astype(dtype)


def pymaxflow(maxflow: Any, unary: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.uint8]:
    """PyMaxflow on the same graph, from arrays to labels."""
    graph = maxflow.GraphInt() if unary.dtype == np.int32 else maxflow.GraphFloat()
    nodes = graph.add_grid_nodes(unary.shape[1:])
    for (y, x), weight in zip(STEPS, weights, strict=False):
        structure = np.zeros((3, 3))
        structure[1 + y, 1 + x] = 1
        graph.add_grid_edges(nodes, weight, structure, symmetric=True)
    graph.add_grid_tedges(nodes, unary[0], unary[1])
    graph.maxflow()
    return (~graph.get_grid_segments(nodes)).astype(np.uint8)


def _energy(labels: NDArray[np.uint8], unary: NDArray[Any], weights: NDArray[Any]) -> float:
    total = float(np.where(labels, unary[1], unary[0]).sum(dtype=np.float64))
    height, width = labels.shape
    for (y, x), weight in zip(STEPS, weights, strict=False):
        here = slice(0, height - y), slice(max(0, -x), width - max(0, x))
        there = slice(y, height), slice(max(0, x), width + min(0, x))
        total += float(weight[here][labels[here] != labels[there]].sum(dtype=np.float64))
    return total


# The growth of the resident set to its peak while one cut is made, in a process of its own; Linux only.
_MEMORY = """
import io, re, runpy, sys
import numpy as np
case = runpy.run_path(sys.argv[2])
data = np.load(io.BytesIO(sys.stdin.buffer.read()))
unary, weights = data["unary"], data["weights"]
if sys.argv[1] == "saccade":
    from saccade.classic import graph_cut
    cut = lambda u, w: graph_cut(u, w, connectivity=2 * len(w))
else:
    import maxflow
    cut = lambda u, w: case["pymaxflow"](maxflow, u, w)
cut(unary[:, :9, :9].copy(), weights[:, :9, :9].copy())
status = lambda key: int(re.search(key + r":\\s*(\\d+) kB", open("/proc/self/status").read())[1])
open("/proc/self/clear_refs", "w").write("5")  # the peak starts from here
before = status("VmRSS")
cut(unary, weights)
print(status("VmHWM") - before)
"""


def memory(implementation: str, unary: NDArray[Any], weights: NDArray[Any]) -> float:
    """MiB that one cut takes at its peak, by ``saccade`` or ``PyMaxflow``."""
    buffer = io.BytesIO()
    np.savez(buffer, unary=unary, weights=weights)
    command = [sys.executable, "-c", _MEMORY, implementation, __file__]
    return int(subprocess.run(command, input=buffer.getvalue(), capture_output=True, check=True).stdout) / 1024


def _cut(problem: str, connectivity: int, dtype: str) -> Work:
    from saccade.classic import graph_cut

    unary, weights = problem_of(problem, connectivity, dtype)

    def verify(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> Difference:
        mine, other = _energy(ours, unary, weights), _energy(theirs, unary, weights)
        apart = abs(mine - other) / other
        half = 2 * memory("saccade", unary, weights) <= memory("PyMaxflow", unary, weights)
        return Difference(apart, half and apart <= (0 if dtype == "int32" else 1e-6))

    return Work(
        ours=lambda: graph_cut(unary, weights, connectivity=connectivity),
        references={"PyMaxflow": reference("maxflow", lambda module: lambda: pymaxflow(module, unary, weights))},
        verify=verify,
    )


def _grab_cut() -> Work:
    from skimage import data

    from saccade.classic import grab_cut

    image = data.astronaut()

    def theirs(cv2: Any) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
        cv2.setRNGSeed(0)
        mask, background, foreground = np.zeros(image.shape[:2], np.uint8), np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(image, mask, RECT, background, foreground, 5, cv2.GC_INIT_WITH_RECT)
        return mask, background, foreground

    def verify(ours: Any, theirs: Any) -> Difference:
        mine, other = _gibbs(image, *ours), _gibbs(image, *theirs)
        return Difference((mine - other) / abs(other), mine <= other)

    return Work(
        ours=lambda: grab_cut(image, rect=RECT, return_models=True),
        references={"cv2": reference("cv2", lambda module: lambda: theirs(module))},
        verify=verify,
    )


def _gibbs(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], background: NDArray[Any], foreground: NDArray[Any]
) -> float:
    """Energy of a mask under its own mixtures, over the rectangle's pixels, and of its edges."""
    pixels = image.astype(np.float64)

    def cost(model: NDArray[Any]) -> NDArray[Any]:
        logs = []
        for k in np.flatnonzero(model[0, :5] > 0):
            d = pixels - model[0, 5 + 3 * k : 8 + 3 * k]
            covariance = model[0, 20 + 9 * k : 29 + 9 * k].reshape(3, 3)
            distance = np.einsum("yxj,jk,yxk->yx", d, np.linalg.inv(covariance), d)
            logs.append(np.log(model[0, k]) - 0.5 * (np.linalg.slogdet(covariance)[1] + distance))
        return -np.logaddexp.reduce(logs, 0)

    x, y, w, h = RECT
    inside = slice(y, y + h), slice(x, x + w)
    labels = (mask & 1).astype(np.uint8)
    unary = np.stack([cost(background), cost(foreground)])
    _, weights = problem_of("contrast", 8, "float64")
    zero = np.zeros_like(unary)
    zero[(slice(None), *inside)] = unary[(slice(None), *inside)]
    return _energy(labels, zero, weights)
