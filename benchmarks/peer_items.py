"""The same questions with the same pictures, in a folder, as each harness of `peers.py` reads them.

    python benchmarks/peer_items.py FOLDER [--items N]

MathVision's testmini from $FLAGOS_EVAL_TEST_DATA (default ../shared/data), over and over. An item
says its number in its question and has a picture file of its own: the same picture, with the number
as a comment in the JPEG, so that no cache of a harness can know it. flagos-eval reads MathVision's
own format with MathVision's own task; the others get the prompts that flagos-eval makes of it.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flagos_eval import config, plan
from flagos_eval.records import ImagePart, sha256_hex

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FLAGOS_EVAL_TEST_DATA", ROOT.parent / "shared" / "data"))
MAX_TOKENS = 4096
"""What flagos-eval asks of MathVision."""

OWN_TASK = """
import dataclasses

from flagos_eval.catalog import load_task

_WHOLE = load_task("mathvision")
_DATASET = dataclasses.replace(_WHOLE.dataset, n={{"test": {n}}})
TASK = dataclasses.replace(_WHOLE, dataset=_DATASET)
"""

RIGHT = """
import re


def right(answer, target):
    boxes = re.findall(r"boxed{([^{}]*)}", answer)
    return bool(boxes) and boxes[-1].strip() == target
"""

LMMS_YAML = """
task: peers
dataset_path: json
dataset_kwargs:
  data_files: {{test: {items}}}
test_split: test
output_type: generate_until
doc_to_visual: !function peer_task.visual
doc_to_text: !function peer_task.text
doc_to_messages: !function peer_task.messages
doc_to_target: target
process_results: !function peer_task.results
generation_kwargs: {{max_new_tokens: {max_tokens}, temperature: 0}}
metric_list:
  - {{metric: accuracy, aggregation: mean, higher_is_better: true}}
"""

LMMS_TASK = (
    RIGHT
    + """

from PIL import Image


def visual(doc):
    return [Image.open(doc["image"]).convert("RGB")]


def text(doc):
    return doc["before"] + doc["after"]


def messages(doc):
    content = [
        {"type": "text", "text": doc["before"]},
        {"type": "image", "url": visual(doc)[0]},
        {"type": "text", "text": doc["after"]},
    ]
    return [{"role": "user", "content": [part for part in content if part.get("text") != ""]}]


def results(doc, results):
    return {"accuracy": float(right(results[0], doc["target"]))}
"""
)

INSPECT_TASK = (
    RIGHT
    + """

from inspect_ai import Task, task
from inspect_ai.dataset import Sample, json_dataset
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText
from inspect_ai.scorer import CORRECT, INCORRECT, Score, accuracy, scorer
from inspect_ai.solver import generate


def to_sample(doc):
    content = [
        ContentText(text=doc["before"]),
        ContentImage(image=doc["image"]),
        ContentText(text=doc["after"]),
    ]
    content = [part for part in content if getattr(part, "text", None) != ""]
    return Sample(id=doc["id"], input=[ChatMessageUser(content=content)], target=doc["target"])


@scorer(metrics=[accuracy()])
def boxed():
    async def score(state, target):
        found = right(state.output.completion, target.text)
        return Score(value=CORRECT if found else INCORRECT)

    return score


@task
def peers(items):
    return Task(dataset=json_dataset(items, to_sample), solver=generate(), scorer=boxed())
"""
)


def commented(jpeg: bytes, comment: str) -> bytes:
    """The same picture as another file: a comment after the marker that a JPEG starts with."""
    text = comment.encode("ascii")
    if not jpeg.startswith(b"\xff\xd8"):
        raise ValueError("not a JPEG")
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]


def records(n: int) -> Iterator[tuple[dict[str, Any], bytes]]:
    """MathVision records, numbered from 0, with their picture files."""
    folder = DATA / "mathvision"
    lines = (folder / "testmini.jsonl").read_text(encoding="utf-8").splitlines()
    for number in range(n):
        record = json.loads(lines[number % len(lines)])
        picture = commented((folder / record["image"]).read_bytes(), f"item {number}")
        record |= {
            "id": str(number),
            "question": f"[item {number}] {record['question']}",
            "image": f"images/{number}.jpg",
        }
        yield record, picture


def write(folder: Path, n: int) -> None:
    """Everything that the harnesses read, into an empty folder."""
    own, lmms = folder / "mathvision", folder / "lmms"
    (own / "images").mkdir(parents=True)
    lmms.mkdir()
    with (own / "test.jsonl").open("w", encoding="utf-8") as lines:
        for record, picture in records(n):
            (own / record["image"]).write_bytes(picture)
            lines.write(json.dumps(record) + "\n")
    (folder / "mathvision.py").write_text(OWN_TASK.format(n=n), encoding="utf-8")
    items = folder / "items.jsonl"
    with items.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(item) + "\n" for item in prompts(folder))
    yaml = LMMS_YAML.format(items=items, max_tokens=MAX_TOKENS)
    (lmms / "peers.yaml").write_text(yaml, encoding="utf-8")
    (lmms / "peer_task.py").write_text(LMMS_TASK, encoding="utf-8")
    (folder / "inspect_task.py").write_text(INSPECT_TASK, encoding="utf-8")


def settings(folder: Path) -> dict[str, Any]:
    """What flagos-eval is asked to run."""
    return {"tasks": (str(folder / "mathvision.py"),), "data_dir": str(folder)}


def prompts(folder: Path) -> Iterator[Mapping[str, Any]]:
    """What flagos-eval asks of the folder, with the picture as a file."""
    made = plan.make(config.combine({"flag": settings(folder)}).config)
    images = (folder / "mathvision" / "images").iterdir()
    file_of = {sha256_hex(path.read_bytes()): path for path in images}
    targets = {s.id: s.target[0] for task in made.tasks for s in task.items.samples}
    for request in made.requests():
        (message,) = request.messages
        texts = ["" if isinstance(part, ImagePart) else part.text for part in message.content]
        (at,) = [i for i, part in enumerate(message.content) if isinstance(part, ImagePart)]
        image = message.content[at]
        assert isinstance(image, ImagePart)
        yield {
            "id": request.sample_id,
            "before": "".join(texts[:at]),
            "image": str(file_of[image.sha256]),
            "after": "".join(texts[at:]),
            "target": targets[request.sample_id],
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int, default=1000)
    options = parser.parse_args()
    write(options.folder.resolve(), options.items)
