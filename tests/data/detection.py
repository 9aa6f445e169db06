"""Small annotated folders that the tests share."""

import json

import numpy as np
from PIL import Image

SIZES = {"a": (30, 40), "b": (20, 25), "pixel": (1, 1)}  # heights and widths
CATEGORIES = [{"id": 9, "name": "dog"}, {"id": 3, "name": "cat"}]


def annotation(image, category, box, **more):
    return {"image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0, **more}


def coco_content():
    """Image 1 with a cat, a dog and a crowd of dogs, 2 without objects, 3 of one pixel that is a cat."""
    images = [
        {"id": number, "file_name": f"{name}.png", "height": SIZES[name][0], "width": SIZES[name][1]}
        for number, name in enumerate(SIZES, 1)
    ]
    run_lengths = {"size": [30, 40], "counts": [30 * 20, 30 * 10, 30 * 10]}  # columns 20 to 29
    objects = [
        annotation(1, 3, [2, 3, 10, 5], segmentation=[[2, 3, 12, 3, 12, 8, 2, 8]]),
        annotation(1, 9, [15.5, 4, 6, 8], segmentation=[[15.5, 4, 21.5, 4, 21.5, 12], [15.5, 4, 15.5, 12, 18, 12]]),
        annotation(1, 9, [20, 0, 10, 30], iscrowd=1, segmentation=run_lengths),
        annotation(3, 3, [0, 0, 1, 1], segmentation={"size": [1, 1], "counts": [0, 1]}),
    ]
    return {"images": images, "annotations": objects, "categories": [dict(each) for each in CATEGORIES]}


def write_coco(root, content=None):
    (root / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, size in SIZES.items():
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(root / "images" / f"{name}.png")
    (root / "annotations.json").write_text(json.dumps(coco_content() if content is None else content))
    return root / "images", root / "annotations.json"


def voc_object(name="cat", box=(3, 4, 12, 8), difficult=0):
    corners = "".join(f"<{side}>{v}</{side}>" for side, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>"


def write_voc(root, objects):
    """``objects``: for the name of each image the XML of its objects."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main", "SegmentationObject"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, content in objects.items():
        height, width = SIZES.get(name, (30, 40))
        Image.new("RGB", (width, height)).save(root / "JPEGImages" / f"{name}.jpg")
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        xml = f"<annotation><filename>{name}.jpg</filename>{size}{''.join(content)}</annotation>"
        (root / "Annotations" / f"{name}.xml").write_text(xml)
    return root
