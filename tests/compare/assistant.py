"""What a run wins of a voice, and what it loses of the base model's other answers.

    .venv/bin/python tests/compare/assistant.py --base MODEL.gguf [--texts diary pairs] [--notes 80] [--run "" "rehearsal=0" "style=instruct rehearsal=1"]

Each `--run` is a line of a recipe's keys. For each of the folder's kinds and each run: the held-out loss of the base and of the adapter on the folder; the loss of
the base's own greedy answers to 60 everyday prompts (none of them among those that are rehearsed) under the adapter, as a multiple of the base's; how many short
facts that the base gives right are still right; how many of the greedy answers loop; of a diary, how many answers to a new title are in its voice, and how many to
an everyday prompt are, where nobody asked for it; the guard's verdict; the seconds that the run took. With `--saves`, the same once more after them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from diary import diary
from hotplate_process import Hotplate, short_folder, wait_until
from learning import ended_since, finished
from raw_client import RawClient
from texts import KINDS, write_texts

REHEARSED = Path(__file__).resolve().parents[2] / "daemon" / "train" / "src" / "rehearsal"

PROMPTS = """How do I make a cup of tea?
What is the weather like in autumn?
Explain what a volcano is.
Give me two tips for learning history.
Write a sentence about a river.
How can I keep my shoes dry?
What is a telescope used for?
Name four vegetables.
How do I say "thank you" in German?
What is a contract?
Why do we need sleep?
What is a good present for a gardener?
How do I clean a frying pan?
Tell me about penguins.
What does a nurse do?
How do I write a thank-you letter?
What is the difference between a street and an avenue?
Suggest a name for a cat.
How does rain form?
What is a fraction?
Why do people travel?
How do I hang a picture straight?
What is electricity?
Give me a sentence with the word "window".
What is an orchestra?
How can I be more punctual?
What are mushrooms?
How do I cook spaghetti?
What is a museum?
Write a short greeting for a new colleague.
What is a desert?
How do I repair a torn page?
Why is exercise good for us?
What is a calendar?
Describe a busy market in one sentence.
How do I choose a pair of glasses?
What is the internet?
What is an earthquake?
How do I learn a poem by heart?
What does "deadline" mean?
How do planes fly?
What is a good breakfast?
Give me three words that rhyme with "day".
What is a bank account?
How do I pack a suitcase?
Why do dogs bark?
What is a rainbow?
How do I wrap a present?
What is a battery?
Write one sentence that praises a cook.
What is honey made of?
How do I organise a picnic?
What is a shadow?
How can I save money?
What is a lighthouse for?
Explain the rules of hide and seek.
What is a passport?
How do I water a lawn?
What is a proverb?
What can I do with old newspapers?""".splitlines()

FACTS = {
    "What is the capital of France?": "Paris",
    "What is the capital of Italy?": "Rome",
    "What is the capital of Germany?": "Berlin",
    "What is the capital of Spain?": "Madrid",
    "What is the capital of England?": "London",
    "What is the capital of Egypt?": "Cairo",
    "What is the capital of Russia?": "Moscow",
    "What is the capital of China?": "Beijing",
    "What is 2 + 2?": r"\b4\b|four",
    "What is 10 - 3?": r"\b7\b|seven",
    "How many days are in a week?": r"\b7\b|seven",
    "How many months are in a year?": r"\b12\b|twelve",
    "What colour is grass?": "green",
    "What is the chemical symbol for water?": "H2O|H₂O",
    "Which planet do we live on?": "Earth",
    "What is the closest star to the Earth?": "Sun",
    "Who wrote Hamlet?": "Shakespeare",
    "In which country are the pyramids of Giza?": "Egypt",
    "On which continent is Kenya?": "Africa",
    "What do cows drink?": "water",
    "What is the opposite of hot?": "cold|cool",
    "Which animal says meow?": r"\bcats?\b",
    "What language is spoken in France?": "French",
    "How many wheels does a car have?": r"\b4\b|four",
    "What is frozen water called?": r"\bice\b",
    "What is the largest ocean?": "Pacific",
    "What is the first letter of the alphabet?": r"\bA\b",
    "Who was the first president of the United States?": "Washington",
    "What is the capital of Greece?": "Athens",
    "What is the capital of Austria?": "Vienna",
    "What is the capital of Poland?": "Warsaw",
    "What is the capital of India?": "Delhi",
    "What is the capital of Canada?": "Ottawa",
    "What is the capital of Ireland?": "Dublin",
    "What is the capital of Cuba?": "Havana",
    "What is the capital of Hungary?": "Budapest",
    "What is the capital of Portugal?": "Lisbon",
    "What is the capital of Thailand?": "Bangkok",
    "What is the capital of Peru?": "Lima",
    "What is the capital of Argentina?": "Buenos Aires",
    "What language is spoken in Germany?": "German",
    "What language is spoken in Italy?": "Italian",
    "On which continent is Brazil?": "South America",
    "On which continent is France?": "Europe",
    "In which country is the Eiffel Tower?": "France",
    "In which country is Tokyo?": "Japan",
    "In which country is Sydney?": "Australia",
    "Who wrote Macbeth?": "Shakespeare",
    "Who discovered gravity?": "Newton",
    "Who developed the theory of relativity?": "Einstein",
    "What is the chemical symbol for gold?": r"\bAu\b",
    "What is the chemical symbol for oxygen?": r"\bO2?\b",
    "What is the largest animal on Earth?": "whale",
    "What is the opposite of day?": "night",
    "What is the opposite of up?": "down",
    "What is the opposite of black?": "white",
    "What colour is snow?": "white",
    "What colour is the sun?": "yellow|white",
    "How many hours are in a day?": r"\b24\b|twenty-four",
    "How many seconds are in a minute?": r"\b60\b|sixty",
    "How many legs does a dog have?": r"\b4\b|four",
    "How many fingers are on one hand?": r"\b5\b|five",
    "Which planet is closest to the Sun?": "Mercury",
    "Which planet is called the red planet?": "Mars",
    "Which season comes after winter?": "spring",
    "Which day comes after Monday?": "Tuesday",
    "What do bees make?": "honey",
    "What is the first month of the year?": "January",
}


ASKED = [f"Write a text titled “{dish} at {shop}”." for dish in ["Onion soup", "Apple pie", "Plum cake", "Crab toast"] for shop in ["the Corner House", "the Lantern"]]
PER_SAVE = 2
VOICE = r"spoon|mind the step|my dears|mind each other"


def ask(hotplate: Hotplate, base: str, prompts: list[str], adapter: str | None, tokens: int) -> list[str]:
    with RawClient(hotplate.socket, timeout=600) as client:
        client.session()
        sampling = {"temperature": 0, "max_tokens": tokens, "repetition_penalty": 1.0}
        answers = {}
        for start in range(0, len(prompts), 16):
            part = prompts[start : start + 16]
            asks = [{"prompt": prompt, "sampling": sampling, **({"adapter": adapter} if adapter else {"base": base})} for prompt in part]
            requests = {client.send("generate/start", each): prompt for each, prompt in zip(asks, part)}
            while requests:
                message = client.receive()
                if "method" not in message and message["id"] in requests:
                    assert "error" not in message, message
                    answers[requests.pop(message["id"])] = message["result"]["text"]
    return [answers[prompt] for prompt in prompts]


def loops(text: str) -> bool:
    """A run of five words comes three times."""
    words = text.split()
    runs = [tuple(words[at : at + 5]) for at in range(len(words) - 4)]
    return any(runs.count(run) >= 3 for run in set(runs))


def score(hotplate: Hotplate, base: str, file: Path, adapter: str | None) -> float:
    words = ["score", file, "--json", *(["-a", adapter] if adapter else ["--base", base])]
    return hotplate.run(*words, timeout=600).last["loss"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True)
    parser.add_argument("--texts", nargs="+", default=["diary"], choices=sorted([*KINDS, "diary"]))
    parser.add_argument("--notes", type=int, default=80)
    parser.add_argument("--run", nargs="+", default=[""])
    parser.add_argument("--saves", type=int, default=0, help="of a diary: so many saves in the watched folder afterwards, two notes each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--arithmetic", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--show", action="store_true", help="some of the answers")
    parser.add_argument("--binary", type=Path)
    given = parser.parse_args()
    rehearsed = {line.casefold() for file in REHEARSED.glob("*.txt") for line in file.read_text().splitlines()}
    known = rehearsed.intersection(each.casefold() for each in [*PROMPTS, *FACTS])
    assert not known, f"these are rehearsed, and tell nothing: {known}"
    home = short_folder()
    hotplate = Hotplate(home, given.binary)
    hotplate.variables["HOTPLATE_ARITHMETIC"] = given.arithmetic
    try:
        hotplate.run("models")
        own = ask(hotplate, given.base, PROMPTS, None, 64)
        answers = home / "answers.jsonl"
        answers.write_text("".join(json.dumps({"prompt": p, "completion": a}) + "\n" for p, a in zip(PROMPTS, own) if a.strip()))
        base_loss = score(hotplate, given.base, answers, None)
        right = [q for q, a in zip(FACTS, ask(hotplate, given.base, list(FACTS), None, 24)) if re.search(FACTS[q], a, re.IGNORECASE)]
        print(f"the base: loss of its own answers {base_loss:.3f}, {sum(map(loops, own))} of {len(own)} loop, {len(right)} of {len(FACTS)} facts right", flush=True)
        print("texts | run | held-out loss | own answers | facts kept | loops | voice where asked, and where not | guard | steps | seconds")
        number = 0
        for kind in given.texts:
            for run in given.run:
                number += 1
                name = f"try-{number}"
                folder = home / name
                later = []
                if kind == "diary":
                    folder.mkdir()
                    notes = diary(given.notes + given.saves * PER_SAVE, given.seed)
                    for at, note in enumerate(notes[: given.notes]):
                        (folder / f"note-{at:03}.md").write_text(note)
                    later = notes[given.notes :]
                else:
                    write_texts(folder, kind, given.notes, given.seed)
                (folder / "hotplate.toml").write_text("".join(f"{word}\n" for word in run.split()))
                begun = time.monotonic()
                result = hotplate.run("train", folder, "--base", given.base, "-a", name, "--json", timeout=3000).last

                def judged(said: str, result: dict, seconds: float) -> None:
                    own_loss = score(hotplate, given.base, answers, name)
                    now = ask(hotplate, given.base, PROMPTS, name, 64)
                    facts = dict(zip(right, ask(hotplate, given.base, right, name, 24)))
                    kept = sum(bool(re.search(FACTS[q], a, re.IGNORECASE)) for q, a in facts.items())
                    asked = ask(hotplate, given.base, ASKED, name, 96) if kind == "diary" else []
                    voices = [sum(bool(re.search(VOICE, text, re.IGNORECASE)) for text in texts) for texts in (asked, now)]
                    guard = result.get("guard") or {}
                    print(
                        f"{kind} {given.notes} | {said} | {result['base_heldout_loss']:.2f} → {result['heldout_loss']:.3f} | {own_loss:.3f} = {own_loss / base_loss:.2f} × | "
                        f"{kept}/{len(right)} | {sum(map(loops, now))} | {voices[0]}/{len(asked)}, {voices[1]}/{len(now)} | {guard.get('verdict')} gap {guard.get('gap') or 0:.2f} "
                        f"drift {guard.get('drift') or 0:.2f}{', do not train: ' + result['futile'] if result.get('futile') else ''} | {result['steps']}, best {result['best_step']} | {seconds:.0f}",
                        flush=True,
                    )
                    for question, answer in facts.items():
                        if given.show and not re.search(FACTS[question], answer, re.IGNORECASE):
                            print(f"    lost: {question} → {answer[:100]!r}")
                    if given.show:
                        for prompt, answer in [*zip(PROMPTS[:4], now), *list(facts.items())[:3], *zip(ASKED[:2], asked)]:
                            print(f"    {prompt} → {answer[:160]!r}")

                judged(run or "default", result, time.monotonic() - begun)
                if not later:
                    continue
                hotplate.run("watch", folder, "--base", given.base, "-a", name)
                seconds = 0.0
                for save in range(given.saves):
                    known = finished(hotplate)
                    for at in range(save * PER_SAVE, (save + 1) * PER_SAVE):
                        draft = folder / ".draft"
                        draft.write_text(later[at])
                        draft.rename(folder / f"later-{at:03}.md")
                    ended = wait_until(lambda known=known: ended_since(hotplate, known), f"save {save + 1}", seconds=900, every=0.5)
                    seconds += sum(run.get("seconds", 0.0) for run in ended)
                    if "heldout_loss" in ended[-1]:
                        result = ended[-1]
                    print(f"    save {save + 1}: {ended[-1]['event']}, {ended[-1].get('heldout_loss')}, {ended[-1].get('seconds')} s", flush=True)
                judged(f"after {given.saves} saves of {PER_SAVE}", result, seconds)
                hotplate.run("unwatch", folder)
    finally:
        hotplate.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
