"""The micro model's training: its tensors, that it learns, and that it goes on where it stopped."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("transformers", reason="training needs transformers")
pytest.importorskip("torchvision", reason="the image processor needs torchvision")

from PIL import Image  # noqa: E402

from tools import train_micro_model as training  # noqa: E402
from tools.micro_model import data, network  # noqa: E402
from tools.micro_model.folder import rows_of, write_folder  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> data.Speech:
    return training.make_speech(tmp_path_factory.mktemp("words"), seed=1)


def plan(speech: data.Speech, steps: int) -> training.Plan:
    small = training.smoke_plan(steps)
    return replace(small, shape=replace(small.shape, vocabulary=rows_of(speech.tokens)))


def test_pictures_and_prompts_are_those_of_the_processor(
    speech: data.Speech, tmp_path: Path
) -> None:
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    model = network.MicroModel(plan(speech, 1).shape)
    model.begin(1)
    write_folder(tmp_path, speech.tokens, plan(speech, 1).shape, dict(model.stored()))
    model.load_state_dict({name: tensor.float() for name, tensor in model.stored()})
    processor = AutoProcessor.from_pretrained(tmp_path)
    stock = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32)
    for kind in data.KINDS:
        question = speech.question(data.item_of(kind, "test of tensors", 0))
        pictures = [Image.open(io.BytesIO(png)) for png in question.pictures]
        expected = processor(text=[question.prompt], images=pictures, return_tensors="pt")
        batch, starts = data.pack(speech, [question], answers=False)
        n = int(starts[0])
        assert batch.ids[0, :n].tolist() == expected["input_ids"][0].tolist()
        patches = network.patches(batch.pixels, batch.palettes).flatten(0, 1)
        assert torch.allclose(patches, expected["pixel_values"], atol=1e-6)
        with torch.no_grad():
            logits = model.lm_head(model.read(batch, model.see(batch)))[0, :n]
            assert torch.allclose(logits, stock(**expected).logits[0], atol=1e-4)


def test_a_batch_follows_from_its_number_and_holds_every_kind(speech: data.Speech) -> None:
    quota = {kind: 1 for kind in data.KINDS}
    batches = data.Batches(speech, "some", quota, 96)
    again = data.Batches(speech, "some", quota, 96)
    assert all(torch.equal(a, b) for a, b in zip(batches[3], again[3], strict=True))
    assert [q.sample.group for q in batches.questions(3)] == list(data.KINDS)
    assert not torch.equal(batches[3].pixels, batches[4].pixels)
    test = {png for q in data.split("test", speech) for png in q.pictures}
    drawn = {png for step in range(3) for q in batches.questions(step) for png in q.pictures}
    assert not test & drawn


def test_packed_pixels_are_the_picture(speech: data.Speech) -> None:
    png = data.split("test", speech)[0].pictures[0]
    packed, palette = data.pixels(png)
    entries = np.stack((packed >> 4, packed & 15), axis=-1).reshape(network.SIDE, -1)
    shown = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    assert (palette[entries] == shown).all()


def test_an_interrupted_training_goes_on(speech: data.Speech, tmp_path: Path) -> None:
    short = replace(plan(speech, 4), batch=4)
    valid = training.one_kind(speech, training.SMOKE_KIND, 2)

    def run(work: Path, until: int) -> training.Training:
        work.mkdir(exist_ok=True)
        return training.train(
            short, work, speech, CPU, until=until, every=2, valid=valid, workers=0
        )

    run(tmp_path / "parts", 2)
    parts, whole = run(tmp_path / "parts", 4), run(tmp_path / "whole", 4)
    assert parts.step == whole.step == 4
    for name, tensor in whole.stored().items():
        assert torch.equal(tensor, parts.stored()[name]), name
    other = replace(short, rate=short.rate * 2)
    with pytest.raises(SystemExit, match="other settings"):
        training.Training(other, CPU).restore(parts.state())


def test_it_learns(speech: data.Speech, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        training.train(
            plan(speech, 200),
            tmp_path,
            speech,
            CPU,
            until=200,
            every=50,
            valid=training.one_kind(speech, training.SMOKE_KIND, 256),
            workers=1,
        )
    finally:
        torch.set_num_threads(threads)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    # ln(6) / 2 is what guessing between six numbers, and then the end, costs per token.
    assert lines[-1]["loss"] < 0.86 < lines[0]["loss"]
    # Chance is a sixth; 256 answers are three and a half standard deviations away from it here.
    assert lines[-1]["accuracy"]["all"] > 0.25
