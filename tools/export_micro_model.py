"""Write the graphs of a micro model beside its weights, and its model card.

    python -m tools.export_micro_model FOLDER [--check]

The graphs hold no weights. ``--check`` compares them with Transformers in single precision on the
test split, first token of every question: the largest difference of a logit must stay below 1e-3
and every greedy token must be the same. Needs torch, transformers and onnx; serving needs none.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np
from safetensors import safe_open

from tools.micro_model.graphs import language, vision
from tools.micro_model.network import Shape

LIMIT = 1e-3
PRECISIONS = {"": {}, "-fp16": {"half": True}, "-int8": {"eight": True}}


def write_graphs(folder: Path) -> None:
    """Both graphs in every precision."""
    with safe_open(folder / "model.safetensors", "np") as stored:
        rows = stored.get_slice("model.embed_tokens.weight").get_shape()[0]
    for suffix, precision in PRECISIONS.items():
        for build in (vision, language):
            graph = build(Shape(rows), **precision)
            (folder / f"{build.__name__}{suffix}.onnx").write_bytes(graph.SerializeToString())


def write_checksums(folder: Path) -> None:
    """Renew the list of SHA-256 in the model card."""
    card = folder / "README.md"
    head, _, rest = card.read_text(encoding="utf-8").partition("```sha256\n")
    _, _, tail = rest.partition("```")
    files = sorted(path for path in folder.iterdir() if path != card)
    sums = "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in files)
    card.write_text(f"{head}```sha256\n{sums}```{tail}", encoding="utf-8")


def check(folder: Path) -> bool:
    """Whether the graphs say what Transformers says."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    from flagos_eval import catalog, dataset, prompt
    from flagos_eval.demo.chat import Chat
    from flagos_eval.demo.engine import Engine, Job
    from flagos_eval.demo.variants import REFERENCE
    from flagos_eval.records import Sampling

    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    chat = Chat(folder, REFERENCE)
    engine = Engine(folder, REFERENCE, end_id=chat.end_id, image_id=chat.image_id)
    task = catalog.load_task("shapes")
    items = dataset.load(task, dataset.Source())
    worst, same = 0.0, 0
    for sample in items.samples:
        request = prompt.request(sample, task.prompts[0], Sampling())
        talk = chat.read(prompt.body(request, "", items.bank.read))
        ours = engine.first_logits(Job(talk, max_tokens=1))
        grid = [[1, picture.rows, picture.columns] for picture in talk.pictures]
        patches = np.concatenate([picture.patches for picture in talk.pictures])
        ids = torch.tensor([talk.ids])
        with torch.no_grad():
            theirs = model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                pixel_values=torch.from_numpy(patches),
                image_grid_thw=torch.tensor(grid),
                position_ids=torch.from_numpy(talk.positions)[:, None],
            ).logits[0, -1]
        worst = max(worst, float(np.abs(theirs.numpy() - ours).max()))
        same += int(theirs.argmax()) == int(np.argmax(ours))
    print(f"largest difference of a logit {worst:.1e}; {same} of {len(items.samples)} tokens equal")
    return worst < LIMIT and same == len(items.samples)


def main() -> int:
    """Read the command line and export; the exit status."""
    parser = argparse.ArgumentParser(description="Write the graphs of a micro model.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="compare with Transformers")
    options = parser.parse_args()
    write_graphs(options.folder)
    write_checksums(options.folder)
    return 0 if not options.check or check(options.folder) else 1


if __name__ == "__main__":
    sys.exit(main())
