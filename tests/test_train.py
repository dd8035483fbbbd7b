"""What `train` promises: it learns, it says so honestly, and the same data and seed give the same bits."""

from __future__ import annotations

import signal
from pathlib import Path

from hotplate_process import Hotplate, short_folder, wait_until
from notes import notes, write_notes
from raw_client import RawClient

RESULT = ["adapter", "version", "path", "base_heldout_loss", "heldout_loss", "steps", "tokens", "seconds"]


def weights(result: dict) -> bytes:
    return (Path(result["path"]) / "adapter_model.safetensors").read_bytes()


def test_it_learns_and_reports(hotplate, tmp_path):
    folder = write_notes(tmp_path / "voice", 60)
    result = hotplate.run("train", folder, "--json", timeout=200)
    events = [line["event"] for line in result.lines]
    last = result.last

    assert events[-1] == "finished" and events.count("finished") == 1
    assert events.index("planned") < events.index("started") < events.index("step") < len(events) - 1
    assert [name for name in RESULT if name not in last] == []
    assert last["adapter"] == "voice" and last["version"] == 1
    assert last["heldout_loss"] < 0.6 * last["base_heldout_loss"]
    assert last["heldout_examples"] >= 4 and last["train_examples"] + last["heldout_examples"] == 60

    steps = [line for line in result.lines if line["event"] == "step"]
    assert [step["step"] for step in steps] == sorted({step["step"] for step in steps})
    assert steps[-1]["seconds_left"] >= 0 and all(step["tokens_per_second"] > 0 for step in steps[1:])
    evaluated = [line for line in result.lines if line["event"] == "evaluated"]
    assert evaluated[0]["step"] == 0
    # The best state is kept, not the last.
    assert abs(min(line["heldout_loss"] for line in evaluated) - last["heldout_loss"]) < 1e-6

    prompt = ["--temperature", 0, "--max-tokens", 40, "Write a short note."]
    assert "Right then" in hotplate.json("generate", "-a", "voice", *prompt)["text"]
    assert "Right then" not in hotplate.json("generate", *prompt)["text"]


def test_the_same_seed_and_data_give_the_same_bits(folder):
    made = []
    for seed in (7, 7, 8):
        hotplate = Hotplate(short_folder())
        try:
            made.append(weights(hotplate.json("train", folder, "--max-steps", 5, "--seed", seed)))
        finally:
            hotplate.close()
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_a_run_that_was_stopped_in_the_middle_ends_with_the_same_bits(folder):
    """The checkpoint holds everything: optimiser, order, random state."""
    words = ["train", folder, "--max-steps", 30, "--seed", 3]
    made = []
    for interrupted in (False, True):
        hotplate = Hotplate(short_folder())
        try:
            if not interrupted:
                made.append(weights(hotplate.json(*words)))
                continue
            hotplate.run(*words, "--detach")
            wait_until(
                lambda: any(run["step"] >= 4 for run in hotplate.status().get("runs", [])), "the fourth step", every=0.05
            )
            hotplate.run("stop")
            hotplate.run("models")
            adapters = wait_until(
                lambda: hotplate.json("adapters")["adapters"], "the resumed run to end", seconds=120, every=0.2
            )
            made.append(weights(adapters[0]["versions"][0]))
        finally:
            hotplate.close()
    assert made[0] == made[1]


def test_generation_during_training_does_not_change_the_bits(folder):
    words = ["train", folder, "--max-steps", 12, "--seed", 3]
    made = []
    for busy in (False, True):
        hotplate = Hotplate(short_folder())
        try:
            training = hotplate.start(*words, "--json")
            if busy:
                for _ in range(4):
                    hotplate.run("generate", "--max-tokens", 10, "Write.")
            out, err = training.communicate(timeout=120)
            assert training.returncode == 0, err
            made.append(weights(hotplate.json("adapters")["adapters"][0]["versions"][0]))
        finally:
            hotplate.close()
    assert made[0] == made[1]


def test_the_three_shapes_of_records(hotplate, tmp_path):
    (tmp_path / "a.jsonl").write_text(
        "".join(f'{{"text": "{text}"}}\n' for text in notes(4))
        + "".join(f'{{"prompt": "Go on.", "completion": "{text}"}}\n' for text in notes(4, 10))
        + "".join(
            '{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Go on."}, '
            f'{{"role": "assistant", "content": "{text}"}}]}}\n'
            for text in notes(4, 20)
        )
    )
    result = hotplate.json("train", tmp_path, "-a", "shapes", "--max-steps", 4)
    assert result["train_examples"] + result["heldout_examples"] == 12
    plan = hotplate.json("train", tmp_path, "-a", "again", "--dry-run")
    # Prompts are read and not learnt.
    assert plan["supervised_tokens"] < plan["tokens"]


def test_two_examples_are_enough(hotplate, tmp_path):
    (tmp_path / "a.txt").write_text("\n---\n".join(notes(2)))
    result = hotplate.json("train", tmp_path, "-a", "two", "--max-steps", 2)
    assert (result["train_examples"], result["heldout_examples"]) == (2, 0)


def test_a_long_text_is_divided_and_said(hotplate, folder):
    (folder / "long.txt").write_text(" ".join(notes(40, 100)))
    (finding,) = [found for found in hotplate.json("check", folder)["findings"] if found["file"] == "long.txt"]
    pieces = int(finding["message"].split(" as ")[1].split()[0])
    result = hotplate.run("train", folder, "--max-steps", 2, "--json")
    assert result.lines[0]["findings"] == 1 and pieces > 1
    assert result.last["train_examples"] + result.last["heldout_examples"] == 24 + pieces


def test_interrupting_the_command_cancels_the_run(hotplate, folder):
    training = hotplate.start("train", folder, "--epochs", 50, "--json")
    try:
        wait_until(lambda: any(run["step"] for run in hotplate.status().get("runs", [])), "a first step")
        training.send_signal(signal.SIGINT)
        out, err = training.communicate(timeout=30)
    finally:
        training.kill()
    assert training.returncode not in (0, 101) and "panicked" not in err
    assert '"cancelled"' in out
    wait_until(lambda: hotplate.status()["runs"] == [], "the run to be gone")
    assert hotplate.json("adapters")["adapters"] == []


def test_a_detached_run_goes_on_without_its_client(hotplate, folder):
    assert hotplate.json("train", folder, "--max-steps", 8, "--detach")["event"] == "queued"
    (adapter,) = wait_until(lambda: hotplate.json("adapters")["adapters"], "the run to end", seconds=60, every=0.2)
    assert adapter["current"] == 1


def test_a_client_that_does_not_read_slows_nothing(hotplate, folder):
    """Its queue is bounded: steps may be left out, the last event never is."""
    hotplate.run("models")
    with RawClient(hotplate.socket, timeout=120) as lazy:
        lazy.session()
        request = lazy.send("train/start", {"folder": str(folder), "knobs": {"max_steps": 300, "seed": 1}})
        with RawClient(hotplate.socket) as other:
            other.session()
            wait_until(lambda: other.call("daemon/status")["runs"] == [], "the run to end", seconds=120, every=0.3)
        run = lazy.reply(request)["result"]["run"]
        while True:
            event = lazy.notification("run/event")
            assert event["run"] == run
            if event["event"]["event"] in ("finished", "failed", "cancelled", "kept"):
                break
        assert event["event"]["event"] == "finished"


def test_a_second_save_while_a_run_waits_replaces_it(hotplate, tmp_path):
    """Per folder and adapter one run goes on and one waits."""
    folder = write_notes(tmp_path / "busy", 60)
    hotplate.run("train", folder, "--epochs", 20, "--detach")
    for _ in range(3):
        hotplate.run("train", folder, "--max-steps", 2, "--detach")
    runs = hotplate.status()["runs"]
    assert [run["state"] for run in runs].count("running") <= 1
    assert len(runs) <= 2, runs


def test_training_tells_what_generate_then_serves(hotplate, folder, tmp_path):
    """The loss that a run reports can be measured again, from outside, with `peft`."""
    import torch
    from checkpoints import load, write_checkpoint
    from test_logits import peer_logits
    from test_peft import with_peft
    from transformers import AutoTokenizer

    base = write_checkpoint(tmp_path / "base", "plain", template=False)
    folder = tmp_path / "dataset"
    folder.mkdir()
    # Below 30 examples the reported loss is cross-validated: no adapter that is left could be asked for it.
    (folder / "a.txt").write_text("\n---\n".join(notes(30)))
    result = hotplate.json("train", folder, "--base", base, "--max-steps", 3, "--learning-rate", 0.01)
    lines = (folder / "a.txt").read_text().splitlines()
    listed = hotplate.json("check", folder, "--base", base, "--examples")["listed"]
    heldout = [lines[example["lines"][0] - 1] for example in listed if example["state"] == "held_out"]
    assert len(heldout) == result["heldout_examples"]
    tokenizer = AutoTokenizer.from_pretrained(base)

    def loss(model) -> float:
        total, tokens = 0.0, 0
        for text in heldout:
            ids = tokenizer(text).input_ids + [tokenizer.eos_token_id]
            scores = torch.log_softmax(peer_logits(model, ids)[:-1], dim=-1)
            total -= scores[range(len(ids) - 1), ids[1:]].sum().item()
            tokens += len(ids) - 1
        return total / tokens

    tuned, plain = with_peft(base, Path(result["path"])), load(base)
    assert abs(loss(plain) - result["base_heldout_loss"]) < 2e-3
    assert abs(loss(tuned) - result["heldout_loss"]) < 2e-3
