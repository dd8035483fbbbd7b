"""Does the guard's verdict agree with what an adapter has become? Twenty adapters, made good and bad on purpose.

    .venv/bin/python tests/compare/guard.py --base MODEL.gguf [--notes 40] [--only 3]

Each is trained by a recipe of its own, and then judged from outside, as `assistant.py` judges (on questions that neither the guard nor rehearsal asks). It has kept the
assistant where the base's own answers cost at most 1.15 times what they cost the base, six of seven short facts stay right, at most two more greedy answers loop than the
base's, and the voice is heard in at most one of twenty answers where nobody asked for it. The guard agrees where it says so, too: "drifting", "looping" and "leaking" are
verdicts about the assistant, the others are not.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from assistant import FACTS, PROMPTS, VOICE, ask, loops, score
from diary import diary
from hotplate_process import Hotplate, short_folder
from texts import write_texts

ADAPTERS = [
    ("diary", ""),
    ("diary", "rehearsal=0"),
    ("diary", "rehearsal=0 max_steps=24"),
    ("diary", "rehearsal=0 max_steps=12"),
    ("diary", "rehearsal=0 max_steps=6"),
    ("diary", "rehearsal=0 learning_rate=0.0002"),
    ("diary", "rehearsal=0 learning_rate=0.0002 max_steps=12"),
    ("diary", "rehearsal=0 learning_rate=0.003 max_steps=24"),
    ("diary", 'rehearsal=0 style="plain" max_steps=30'),
    ("diary", 'rehearsal=0 style="instruct" max_steps=30'),
    ("diary", "rehearsal=0.1"),
    ("diary", "rehearsal=0.5"),
    ("diary", "rehearsal=2"),
    ("diary", "learning_rate=0.0004"),
    ("diary", "rank=4"),
    ("diary", 'style="plain"'),
    ("pairs", ""),
    ("pairs", "rehearsal=0"),
    ("pairs", "rehearsal=0 learning_rate=0.003"),
    ("pairs", "learning_rate=0.0004"),
]
ABOUT_THE_ASSISTANT = {"drifting", "looping", "leaking"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True)
    parser.add_argument("--notes", type=int, default=40)
    parser.add_argument("--only", type=int, nargs="*", help="adapters by their number, from 1")
    parser.add_argument("--binary", type=Path)
    given = parser.parse_args()
    home = short_folder()
    hotplate = Hotplate(home, given.binary)
    # As a person has it; the tests compute in f32.
    hotplate.variables["HOTPLATE_ARITHMETIC"] = "fastest"
    agreed = judged = 0
    try:
        hotplate.run("models")
        own = ask(hotplate, given.base, PROMPTS, None, 64)
        answers = home / "answers.jsonl"
        answers.write_text("".join(json.dumps({"prompt": p, "completion": a}) + "\n" for p, a in zip(PROMPTS, own) if a.strip()))
        base_loss = score(hotplate, given.base, answers, None)
        right = [q for q, a in zip(FACTS, ask(hotplate, given.base, list(FACTS), None, 24)) if re.search(FACTS[q], a, re.IGNORECASE)]
        base_loops = sum(map(loops, own))
        print(f"the base: {base_loss:.3f}, {base_loops} of {len(own)} loop, {len(right)} of {len(FACTS)} facts right", flush=True)
        print("| adapter | own answers | facts kept | loop | voice unasked | kept the assistant | guard | drift | agreement | loops | leaks | agrees |")
        for number, (kind, run) in enumerate(ADAPTERS, 1):
            if given.only and number not in given.only:
                continue
            name = f"try-{number}"
            folder = home / name
            if kind == "diary":
                folder.mkdir()
                for at, note in enumerate(diary(given.notes, 1)):
                    (folder / f"note-{at:03}.md").write_text(note)
            else:
                write_texts(folder, kind, given.notes, 1)
            (folder / "hotplate.toml").write_text("".join(f"{word}\n" for word in run.split()))
            result = hotplate.run("train", folder, "--base", given.base, "-a", name, "--json", timeout=3000).last
            times = score(hotplate, given.base, answers, name) / base_loss
            now = ask(hotplate, given.base, PROMPTS, name, 64)
            facts = ask(hotplate, given.base, right, name, 24)
            kept = sum(bool(re.search(FACTS[q], a, re.IGNORECASE)) for q, a in zip(right, facts))
            loop = sum(map(loops, now))
            voice = sum(bool(re.search(VOICE, text, re.IGNORECASE)) for text in now)
            good = times <= 1.15 and 7 * kept >= 6 * len(right) and loop <= base_loops + 2 and 20 * voice <= len(now)
            guard = result["guard"]
            says = guard["verdict"] not in ABOUT_THE_ASSISTANT
            judged, agreed = judged + 1, agreed + (says == good)
            print(
                f"| {kind}, {run or 'defaults'} | {times:.2f} × | {kept} of {len(right)} | {loop} | {voice} | {'yes' if good else 'no'} | {guard['verdict']} | "
                f"{guard['drift']:.2f} | {guard['agreement']:.2f} | {guard['loops']:.2f} ({guard['base_loops']:.2f}) | {guard['leaks']:.2f} | {'yes' if says == good else 'no'} |",
                flush=True,
            )
        print(f"the guard agrees in {agreed} of {judged}")
    finally:
        hotplate.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
