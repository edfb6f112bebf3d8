"""Small data sets in the exact formats of the public ones."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from rsagent import imaging

WIDTH, HEIGHT = 40, 30


def photograph(path: Path, width: int = WIDTH, height: int = HEIGHT) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.write_bytes(imaging.encode_jpeg(noise))


def labelme(folder: Path, name: str, shapes: list[dict[str, Any]], text: Any, sentence: bool = True) -> None:
    """A picture of ReasonSeg and its annotation, with the fields that labelme writes besides."""
    photograph(folder / f"{name}.jpg")
    told = {"text": text, "is_sentence": sentence, "shapes": shapes, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    (folder / f"{name}.json").write_text(json.dumps(told), encoding="utf-8")


def shape(label: str, *points: tuple[float, float]) -> dict[str, Any]:
    return {
        "label": label,
        "labels": [label],
        "shape_type": "polygon",
        "image_name": "x.jpg",
        "points": [list(point) for point in points],
        "group_id": None,
        "group_ids": [None],
        "flags": {},
    }


def box(x: float, y: float, wide: float, high: float) -> list[float]:
    """A rectangle as COCO's polygon."""
    return [x, y, x + wide, y, x + wide, y + high, x, y + high]


def annotation(id: int, image_id: int, category_id: int, segmentation: Any, **more: Any) -> dict[str, Any]:
    found = {"id": id, "image_id": image_id, "category_id": category_id, "segmentation": segmentation}
    return found | {"iscrowd": 0, "area": 1.0, "bbox": [0, 0, 1, 1]} | more


def runs(x: int, y: int, wide: int, high: int) -> dict[str, Any]:
    """A rectangle as COCO's compressed run lengths."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order="F")
    mask[y : y + high, x : x + wide] = 1
    found: dict[str, Any] = coco.encode(mask)
    return found | {"counts": found["counts"].decode()}


def instances(path: Path, annotations: list[dict[str, Any]], pictures: int = 2) -> None:
    """COCO's instances of pictures 1, 2, …"""
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = [
        {"id": number, "file_name": f"COCO_train2014_{number:012d}.jpg", "width": WIDTH, "height": HEIGHT,
         "license": 1, "coco_url": "http://mscoco.org/x.jpg"}
        for number in range(1, pictures + 1)
    ]  # fmt: skip
    categories = [
        {"id": 1, "name": "person", "supercategory": "person"},
        {"id": 18, "name": "dog", "supercategory": "animal"},
        {"id": 62, "name": "chair", "supercategory": "furniture"},
    ]
    told = {"info": {}, "licenses": [], "images": shown, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(told))


def photographs(folder: Path, pictures: int = 2) -> None:
    for number in range(1, pictures + 1):
        photograph(folder / f"COCO_train2014_{number:012d}.jpg")


def reference(ref_id: int, ann_id: int, split: str, *sentences: str, image_id: int = 1) -> dict[str, Any]:
    """An entry of refs(….p)."""
    told = [
        {"tokens": sent.split(), "raw": sent.capitalize(), "sent_id": 10 * ref_id + number, "sent": sent}
        for number, sent in enumerate(sentences)
    ]
    return {
        "sent_ids": [one["sent_id"] for one in told],
        "file_name": f"COCO_train2014_{image_id:012d}_{ann_id}.jpg",
        "ann_id": ann_id,
        "ref_id": ref_id,
        "image_id": image_id,
        "split": split,
        "sentences": told,
        "category_id": 1,
    }


def pickled(path: Path, value: Any) -> None:
    """As Python 2 wrote it: protocol 0, and texts as byte strings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = pickle.dumps(value, protocol=0)
    path.write_bytes(_as_python_2(data))


def _as_python_2(data: bytes) -> bytes:
    """Protocol 0 spells a text as V…\\n (UNICODE); Python 2's `str` is S'…'\\n (STRING)."""
    lines = []
    for line in data.split(b"\n"):
        place = line.rfind(b"V")
        plain = place >= 0 and line[place + 1 :].isascii() and b"'" not in line and b"\\" not in line
        texts = plain and (place == 0 or line[:place].rstrip(b"(lpadstI0123456789.F-") == b"")
        lines.append(line[:place] + b"S'" + line[place + 1 :] + b"'" if texts else line)
    return b"\n".join(lines)
