"""Train a micro Qwen2.5-VL on the drawn benchmark "shapes", so that tests have a model that knows
something.

    python -m tools.train_micro_model WORK [--steps N] [--until N] [--write DEST] [--smoke]

WORK receives ``tokenizer.json``, ``log.jsonl``, ``checkpoint.pt`` and, from every evaluation, the
smoothed weights as ``weights-STEP.safetensors``. The same command goes on where an earlier one was
interrupted. ``--write`` makes a model folder that vLLM and Transformers load.

A batch follows from the seed and its number. Training items come from streams of the benchmark's
generator, and the test split is none of them. On a CPU the same versions give the same weights; a
GPU adds up in an order of its own, so its results differ in detail from run to run.

``--smoke`` trains a smaller model on one kind of question, on a CPU and for about a minute, to show
that everything works.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the workers are parallel themselves

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from tools.make_tiny_model import CHAT_TEMPLATE
from tools.micro_model.data import (
    ANSWER,
    END,
    KINDS,
    Batches,
    Question,
    Speech,
    accuracy,
    item_of,
    pack,
    show,
    split,
)
from tools.micro_model.folder import rows_of, train_tokenizer, write_folder
from tools.micro_model.network import MicroModel, Shape

SHARES = {
    "count": 10,
    "colour": 8,
    "digits": 12,
    "position": 12,
    "colour_mc": 18,
    "count_mc": 18,
    "same": 14,
    "more": 14,
    "colour_zh": 6,
    "shape": 8,
    "count_zh": 6,
    "shape_mc_zh": 14,
}
"""Parts of a batch: what was learned last in a first try has more of them."""
SMALL = Shape(
    0,
    hidden=64,
    intermediate=128,
    layers=2,
    heads=1,
    kv_heads=1,
    vision_hidden=32,
    vision_intermediate=64,
    vision_layers=1,
    vision_heads=1,
)
SMOKE_KIND = "count_zh"
"""For `--smoke`: one short question about one picture, six answers, something learned early."""


@dataclass(frozen=True)
class Plan:
    """What a training is; a checkpoint of another plan is refused."""

    seed: int
    steps: int
    batch: int
    rate: float
    shape: Shape
    shares: Mapping[str, int]
    warmup: int = 400
    decay: float = 0.05
    smoothing: float = 0.999
    length: int = 96
    """Tokens of a row; a batch that does not fit is refused."""

    @property
    def quota(self) -> dict[str, int]:
        """Items of each kind in a batch."""
        whole = sum(self.shares.values())
        return {kind: round(self.batch * part / whole) for kind, part in self.shares.items()}

    def rate_at(self, step: int) -> float:
        """Learning rate: up in a line, down in a cosine."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        return self.rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))


class Training:
    """A model on its way."""

    def __init__(self, plan: Plan, device: torch.device, compiled: bool = False) -> None:
        self.plan, self.device, self.step = plan, device, 0
        self.model = MicroModel(plan.shape)
        self.model.begin(plan.seed)
        self.model.to(device)
        self.smooth = {k: v.clone() for k, v in self.model.state_dict().items()}
        self._live = list(self.model.state_dict().values())
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": plan.decay}, {"params": others}],
            lr=plan.rate,
            betas=(0.9, 0.98),
            weight_decay=0.0,
            fused=device.type == "cuda",
        )
        self._loss = torch.compile(self.model) if compiled else self.model

    def state(self) -> dict[str, Any]:
        """Everything that continuing needs."""
        return {
            "plan": asdict(self.plan),
            "step": self.step,
            "model": self.model.state_dict(),
            "smooth": self.smooth,
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        if state["plan"] != asdict(self.plan):
            raise SystemExit("train_micro_model: the checkpoint belongs to other settings")
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.smooth, self.step = dict(state["smooth"]), state["step"]

    def learn(self, batch: Any) -> torch.Tensor:
        """One step; returns the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate_at(self.step)
        cuda = self.device.type == "cuda"
        with torch.autocast("cuda", torch.bfloat16) if cuda else contextlib.nullcontext():
            loss: torch.Tensor = self._loss(batch.to(self.device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        # Early on the average follows the weights more closely.
        weight = 1 - min(self.plan.smoothing, (self.step + 1) / (self.step + 10))
        torch._foreach_lerp_(list(self.smooth.values()), self._live, weight)
        return loss.detach()

    def stored(self) -> dict[str, torch.Tensor]:
        """The smoothed weights, as they are stored."""
        average = MicroModel(self.plan.shape)
        average.load_state_dict(self.smooth)
        return dict(average.stored())


def answers(
    model: MicroModel, speech: Speech, questions: Sequence[Question], size: int = 512
) -> Iterator[str]:
    """Greedy answers."""
    device = next(model.parameters()).device
    for at in range(0, len(questions), size):
        batch, starts = pack(speech, questions[at : at + size], answers=False)
        said = model.greedy(batch.to(device), starts.to(device), speech.id(END), ANSWER)
        for row in said.tolist():
            yield speech.tokens.decode([token for token in row if token != speech.id(END)])


def make_speech(work: Path, seed: int) -> Speech:
    """The tokenizer in WORK, made from the words of 1,200 training items if it is not there."""
    path = work / "tokenizer.json"
    speech = Speech(path, CHAT_TEMPLATE)
    if not path.exists():
        drawn = [item_of(kind, f"words {seed}", n) for kind in KINDS for n in range(100)]
        questions = [speech.question(item) for item in drawn]
        texts = [part for q in questions for part in (q.sample.target[0], *_pieces(q.prompt))]
        train_tokenizer(texts).save(str(path))
    return speech


def _pieces(prompt: str) -> list[str]:
    """A prompt without its special tokens."""
    for token in ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"):
        prompt = prompt.replace(token, "<|image_pad|>")
    return [piece for piece in prompt.split("<|image_pad|>") if piece]


def train(
    plan: Plan,
    work: Path,
    speech: Speech,
    device: torch.device,
    *,
    until: int,
    every: int,
    valid: Sequence[Question],
    workers: int,
    compiled: bool = False,
    keep: int = 0,
) -> Training:
    """Train to step `until`; every `every` steps evaluate and save."""
    training = Training(plan, device, compiled)
    checkpoint = work / "checkpoint.pt"
    if checkpoint.exists():
        training.restore(torch.load(checkpoint, map_location=device, weights_only=True))
    batches = torch.utils.data.DataLoader(
        Batches(speech, f"train {plan.seed}", plan.quota, plan.length),
        batch_size=None,
        sampler=range(training.step, until),
        num_workers=workers,
        prefetch_factor=6 if workers else None,
        pin_memory=device.type == "cuda",
    )
    losses: list[torch.Tensor] = []
    begun, started = time.monotonic(), training.step
    for batch in batches:
        losses.append(training.learn(batch))
        if training.step % every and training.step != until:
            continue
        mean = torch.stack(losses).mean().item()
        if not math.isfinite(mean):
            raise SystemExit(f"train_micro_model: the loss is {mean} at step {training.step}")
        seconds = time.monotonic() - begun
        stored = training.stored()
        save_file(stored, work / f"weights-{training.step:06d}.safetensors")
        rates = evaluate(stored, plan.shape, speech, valid, device)
        line = {"step": training.step, "loss": round(mean, 4), "seconds": round(seconds, 1)}
        line["per_step"] = round(seconds / (training.step - started), 4)
        with (work / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({**line, "accuracy": rates}) + "\n")
        print(json.dumps(line), show(rates), flush=True)
        aside = checkpoint.with_suffix(".new")
        torch.save(training.state(), aside)
        aside.replace(checkpoint)
        for old in sorted(work.glob("weights-*.safetensors"))[:-keep] if keep else []:
            old.unlink()
        losses = []
    return training


def evaluate(
    weights: Mapping[str, torch.Tensor],
    shape: Shape,
    speech: Speech,
    questions: Sequence[Question],
    device: torch.device,
) -> dict[str, float]:
    """Accuracy per kind of the stored weights in single precision."""
    model = MicroModel(shape)
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return accuracy(questions, answers(model.to(device).eval(), speech, questions))


def one_kind(speech: Speech, kind: str, n: int) -> list[Question]:
    """Items to check a training of one kind with."""
    return [speech.question(item_of(kind, "valid", nth)) for nth in range(n)]


def smoke_plan(steps: int) -> Plan:
    """One kind of question, for a CPU."""
    return Plan(
        seed=1,
        steps=steps,
        batch=32,
        rate=1e-3,
        shape=SMALL,
        shares={SMOKE_KIND: 1},
        warmup=20,
        smoothing=0.95,
        length=56,
    )


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a micro Qwen2.5-VL on drawn pictures.")
    parser.add_argument("work", type=Path, help="folder for checkpoints; an earlier run goes on")
    parser.add_argument("--seed", type=int, default=20260401)
    parser.add_argument("--steps", type=int, default=12_000, help="length of the schedule")
    parser.add_argument("--until", type=int, help="stop at this step of it")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--every", type=int, default=1000, help="steps between evaluations")
    parser.add_argument("--keep", type=int, default=0, help="how many weights to keep (0: all)")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile the step")
    parser.add_argument("--weights", type=Path, help="with --write: these, without training")
    parser.add_argument("--write", type=Path, help="write a model folder")
    parser.add_argument("--smoke", action="store_true", help="a minute on a CPU")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and train."""
    args = _arguments(argv)
    work: Path = args.work
    work.mkdir(parents=True, exist_ok=True)
    device = torch.device("cpu" if args.smoke else args.device)
    speech = make_speech(work, args.seed)
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    rows = rows_of(tokenizer)
    if args.smoke:
        plan = smoke_plan(500)
        valid = one_kind(speech, SMOKE_KIND, 256)
        args.until, args.every, args.workers, args.keep = plan.steps, 100, 1, 1
        torch.set_num_threads(1)  # so small a model gains nothing from more
    else:
        plan = Plan(args.seed, args.steps, args.batch, args.rate, Shape(0), SHARES)
        valid = split("valid", speech, 1000)
    plan = replace(plan, shape=replace(plan.shape, vocabulary=rows))
    weights: Path | None = args.weights
    if weights is None:
        until = min(args.until or plan.steps, plan.steps)
        torch.set_float32_matmul_precision("high")
        train(
            plan,
            work,
            speech,
            device,
            until=until,
            every=args.every,
            valid=valid,
            workers=args.workers,
            compiled=args.compile,
            keep=args.keep,
        )
        weights = work / f"weights-{until:06d}.safetensors"
    if args.smoke:
        return 0
    torch.set_float32_matmul_precision("highest")
    stored = load_file(weights)
    n = sum(tensor.numel() for tensor in stored.values())
    test = evaluate(stored, plan.shape, speech, split("test", speech), device)
    print(f"{weights.name}: {n} parameters, test split {show(test)}", file=sys.stderr)
    if args.write:
        write_folder(args.write, tokenizer, plan.shape, stored)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
