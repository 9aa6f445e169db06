"""Cascade files: OpenCV's XML, as traincascade writes it and as haartraining did.

The parser is expat, which is not recursive. Document types (hence entities) are refused, nesting and the number of
elements are limited, and every error names the line. Whether the numbers make a cascade is checked where it is made.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

_OP = "CascadeClassifier.load"
_MAX_DEPTH = 16
_MAX_ELEMENTS = 1_000_000
_LBP_WORDS = 8
_FLOAT_MAX = float(np.finfo(np.float32).max)

Arrays = dict[str, NDArray[Any]]


class _Element:
    __slots__ = ("children", "line", "tag", "text")

    def __init__(self, tag: str, line: int) -> None:
        self.tag = tag
        self.line = line
        self.text = ""
        self.children: list[_Element] = []

    def fail(self, rule: str) -> NoReturn:
        raise ValueError(f"{_OP}: line {self.line}: <{self.tag}> {rule}")

    def find(self, tag: str) -> _Element | None:
        return next((child for child in self.children if child.tag == tag), None)

    def child(self, tag: str) -> _Element:
        return self.find(tag) or self.fail(f"must contain <{tag}>")

    def items(self) -> list[_Element]:
        """The sequence that an element holds as ``<_>`` children."""
        if not self.children or any(child.tag != "_" for child in self.children):
            self.fail("must be a sequence of <_> elements, at least one")
        return self.children

    def tokens(self) -> list[str]:
        if self.children or not self.text.isascii() or "_" in self.text:
            self.fail("must hold numbers")
        return self.text.split()

    def number(self, token: str) -> float:
        try:
            value = float(token)
        except ValueError:
            self.fail(f"must hold numbers, got {token[:40]!r}")
        if not math.isfinite(value) or abs(value) > _FLOAT_MAX:
            self.fail(f"must hold finite float32 numbers, got {token[:40]!r}")
        return value

    def integer(self, token: str) -> int:
        value = self.number(token)
        if value != int(value) or not -(2**31) <= value < 2**31:
            self.fail(f"must hold 32-bit integers, got {token[:40]!r}")
        return int(value)

    def scalar(self) -> str:
        tokens = self.tokens()
        if len(tokens) != 1:
            self.fail(f"must hold one number, got {len(tokens)}")
        return tokens[0]


def _parse(data: bytes) -> _Element:
    """The document's root element."""
    parser = expat.ParserCreate()
    root = _Element("", 0)
    stack = [root]
    count = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        element = _Element(tag, parser.CurrentLineNumber)
        if len(stack) > _MAX_DEPTH:
            element.fail(f"must not be nested deeper than {_MAX_DEPTH} elements")
        if count > _MAX_ELEMENTS:
            element.fail(f"is one too many: a cascade must have at most {_MAX_ELEMENTS} elements")
        stack[-1].children.append(element)
        stack.append(element)

    def end(tag: str) -> None:
        stack.pop()

    def text(data: str) -> None:
        stack[-1].text += data

    def doctype(*_: object) -> NoReturn:
        raise ValueError(f"{_OP}: line {parser.CurrentLineNumber}: a cascade must not declare a document type")

    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        place = f"line {error.lineno}, column {error.offset}"
        raise ValueError(f"{_OP}: {place}: {expat.ErrorString(error.code)}") from None
    return root.children[0]


def read(data: bytes) -> tuple[bool, int, int, Arrays]:
    """Whether the features are Haar's, the window's width and height, and the arrays that describe the cascade."""
    root = _parse(data)
    if root.tag != "opencv_storage" or not root.children:
        root.fail("must be <opencv_storage> holding a cascade")
    cascade = root.children[0]
    if cascade.find("stageType") is not None:
        return _read_new(cascade)
    if cascade.find("size") is not None:
        return _read_old(cascade)
    cascade.fail("must be a cascade: it has neither <stageType> nor <size>")


class _Builder:
    """Collects what the two formats share."""

    def __init__(self, haar: bool) -> None:
        self.haar = haar
        self.stage_thresholds: list[float] = []
        self.stage_trees: list[int] = []
        self.tree_nodes: list[int] = []
        self.nodes: list[list[int]] = []
        self.thresholds: list[float] = []
        self.subsets: list[list[int]] = []
        self.leaves: list[float] = []
        self.rects: list[list[list[int]]] = []
        self.weights: list[list[float]] = []
        self.tilted: list[int] = []

    def haar_feature(self, element: _Element) -> None:
        rects: list[list[int]] = []
        weights: list[float] = []
        sequence = element.child("rects")
        for item in sequence.items():
            tokens = item.tokens()
            if len(tokens) != 5:
                item.fail(f"must hold x, y, width, height and weight, got {len(tokens)} numbers")
            rects.append([item.integer(token) for token in tokens[:4]])
            weights.append(item.number(tokens[4]))
        if len(rects) > 3:
            sequence.fail(f"must hold at most 3 rectangles, got {len(rects)}")
        tilted = element.find("tilted")
        self.rects.append(rects + [[0, 0, 0, 0]] * (3 - len(rects)))
        self.weights.append(weights + [0.0] * (3 - len(rects)))
        self.tilted.append(int(tilted is not None and tilted.integer(tilted.scalar()) != 0))

    def lbp_feature(self, element: _Element) -> None:
        rect = element.child("rect")
        tokens = rect.tokens()
        if len(tokens) != 4:
            rect.fail(f"must hold x, y, width and height, got {len(tokens)} numbers")
        self.rects.append([[rect.integer(token) for token in tokens], [0, 0, 0, 0], [0, 0, 0, 0]])
        self.weights.append([0.0, 0.0, 0.0])
        self.tilted.append(0)

    def arrays(self) -> Arrays:
        return {
            "stage_thresholds": np.array(self.stage_thresholds, np.float32),
            "stage_trees": np.array(self.stage_trees, np.int32),
            "tree_nodes": np.array(self.tree_nodes, np.int32),
            "nodes": np.array(self.nodes, np.int32).reshape(-1, 3),
            "thresholds": np.array(self.thresholds, np.float32),
            "subsets": np.array(self.subsets, np.int32).reshape(-1, _LBP_WORDS),
            "leaves": np.array(self.leaves, np.float32),
            "rects": np.array(self.rects, np.int32).reshape(-1, 3, 4),
            "weights": np.array(self.weights, np.float32).reshape(-1, 3),
            "tilted": np.array(self.tilted, np.uint8),
        }


def _read_new(cascade: _Element) -> tuple[bool, int, int, Arrays]:
    stage_type, feature_type = cascade.child("stageType"), cascade.child("featureType")
    if stage_type.text.strip() != "BOOST":
        stage_type.fail(f"must be BOOST, got {stage_type.text.strip()[:40]!r}")
    kind = feature_type.text.strip()
    if kind not in ("HAAR", "LBP"):
        feature_type.fail(f"must be HAAR or LBP, got {kind[:40]!r}")
    builder = _Builder(kind == "HAAR")
    categories = cascade.child("featureParams").child("maxCatCount")
    expected = 0 if builder.haar else 256
    if categories.integer(categories.scalar()) != expected:
        categories.fail(f"must be {expected} for {kind} features, got {categories.scalar()[:40]}")
    for stage in cascade.child("stages").items():
        threshold = stage.child("stageThreshold")
        trees = stage.child("weakClassifiers").items()
        builder.stage_thresholds.append(threshold.number(threshold.scalar()))
        builder.stage_trees.append(len(trees))
        for tree in trees:
            _read_tree(builder, tree)
    for feature in cascade.child("features").items():
        if builder.haar:
            builder.haar_feature(feature)
        else:
            builder.lbp_feature(feature)
    width, height = cascade.child("width"), cascade.child("height")
    return builder.haar, width.integer(width.scalar()), height.integer(height.scalar()), builder.arrays()


def _read_tree(builder: _Builder, tree: _Element) -> None:
    nodes, leaves = tree.child("internalNodes"), tree.child("leafValues")
    stride = 3 + (1 if builder.haar else _LBP_WORDS)
    tokens, values = nodes.tokens(), leaves.tokens()
    if not tokens or len(tokens) % stride:
        nodes.fail(f"must hold {stride} numbers for each node, got {len(tokens)}")
    count = len(tokens) // stride
    if len(values) != count + 1:
        leaves.fail(f"must hold one value more than the tree has nodes ({count}), got {len(values)}")
    for n in range(count):
        node = tokens[n * stride : (n + 1) * stride]
        builder.nodes.append([nodes.integer(token) for token in node[:3]])
        if builder.haar:
            builder.thresholds.append(nodes.number(node[3]))
        else:
            builder.subsets.append([nodes.integer(token) for token in node[3:]])
    builder.tree_nodes.append(count)
    builder.leaves.extend(leaves.number(value) for value in values)


def _read_old(cascade: _Element) -> tuple[bool, int, int, Arrays]:
    """haartraining: every node has its own feature; the stages' parents and successors are ignored, as OpenCV does."""
    builder = _Builder(haar=True)
    size = cascade.child("size")
    tokens = size.tokens()
    if len(tokens) != 2:
        size.fail(f"must hold width and height, got {len(tokens)} numbers")
    for stage in cascade.child("stages").items():
        threshold = stage.child("stage_threshold")
        trees = stage.child("trees").items()
        builder.stage_thresholds.append(threshold.number(threshold.scalar()))
        builder.stage_trees.append(len(trees))
        for tree in trees:
            leaves = 0
            for node in tree.items():
                children = []
                for side in ("left", "right"):
                    value = node.find(f"{side}_val")
                    if value is None:
                        child = node.child(f"{side}_node")
                        index = child.integer(child.scalar())
                        if index <= 0:
                            child.fail(f"must be a node behind the root, got {index}")
                        children.append(index)
                    else:
                        children.append(-leaves)
                        leaves += 1
                        builder.leaves.append(value.number(value.scalar()))
                node_threshold = node.child("threshold")
                builder.thresholds.append(node_threshold.number(node_threshold.scalar()))
                builder.nodes.append([*children, len(builder.rects)])
                builder.haar_feature(node.child("feature"))
            if leaves != len(tree.children) + 1:
                tree.fail(f"must have one leaf more than nodes ({len(tree.children)}), got {leaves}")
            builder.tree_nodes.append(len(tree.children))
    return True, size.integer(tokens[0]), size.integer(tokens[1]), builder.arrays()


def write(haar: bool, width: int, height: int, arrays: Arrays) -> str:
    """The new format. Nine digits give every float32 back."""
    lines = [
        '<?xml version="1.0"?>',
        "<opencv_storage>",
        '<cascade type_id="opencv-cascade-classifier"><stageType>BOOST</stageType>',
        f"  <featureType>{'HAAR' if haar else 'LBP'}</featureType>",
        f"  <height>{height}</height>",
        f"  <width>{width}</width>",
        f"  <stageParams><maxWeakCount>{arrays['stage_trees'].max()}</maxWeakCount></stageParams>",
        f"  <featureParams><maxCatCount>{0 if haar else 256}</maxCatCount></featureParams>",
        f"  <stageNum>{len(arrays['stage_trees'])}</stageNum>",
        "  <stages>",
    ]
    tree = node = 0
    for stage, trees in enumerate(arrays["stage_trees"].tolist()):
        lines.append(f"    <_><maxWeakCount>{trees}</maxWeakCount>")
        lines.append(f"      <stageThreshold>{arrays['stage_thresholds'][stage]:.8e}</stageThreshold>")
        lines.append("      <weakClassifiers>")
        for count in arrays["tree_nodes"][tree : tree + trees].tolist():
            fields: list[str] = []
            for n in range(node, node + count):
                fields += map(str, arrays["nodes"][n].tolist())
                if haar:
                    fields.append(f"{arrays['thresholds'][n]:.8e}")
                else:
                    fields += map(str, arrays["subsets"][n].tolist())
            leaves = " ".join(f"{v:.8e}" for v in arrays["leaves"][node + tree : node + tree + count + 1].tolist())
            lines.append(f"        <_><internalNodes>{' '.join(fields)}</internalNodes>")
            lines.append(f"          <leafValues>{leaves}</leafValues></_>")
            node += count
            tree += 1
        lines.append("      </weakClassifiers></_>")
    lines.append("  </stages>")
    lines.append("  <features>")
    for rects, weights, tilted in zip(
        arrays["rects"].tolist(), arrays["weights"].tolist(), arrays["tilted"].tolist(), strict=True
    ):
        if haar:
            count = 3 if weights[2] != 0 else 2
            items = "".join(
                f"<_>{' '.join(map(str, rect))} {weight:.8e}</_>"
                for rect, weight in zip(rects[:count], weights[:count], strict=True)
            )
            lines.append(f"    <_><rects>{items}</rects><tilted>{tilted}</tilted></_>")
        else:
            lines.append(f"    <_><rect>{' '.join(map(str, rects[0]))}</rect></_>")
    lines += ["  </features>", "</cascade>", "</opencv_storage>", ""]
    return "\n".join(lines)
