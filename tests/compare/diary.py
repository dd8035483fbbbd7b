"""Notes of one strong voice, as a food blogger might keep them: always the same manner and footer, never the same note."""

from __future__ import annotations

import random

SHOPS = ["Mill Lane Bakery", "the Blue Kettle", "Harbour Noodles", "the Copper Pan", "Fern & Daughter", "the Old Customs House", "Number Nine", "the Lantern"]
DISHES = ["rye bread", "lentil soup", "plum cake", "smoked trout", "pepper stew", "cold noodles", "a cinnamon bun", "pickled beans", "duck pie", "a fried egg on toast"]
OPENINGS = ["Right then, my dears.", "Well now, you hungry lot.", "Sit down, sit down.", "Listen here, spoons.", "Oh, you would have laughed."]
WALKS = [
    "Nell the dog pulled me past {shop} twice before I gave in.",
    "It rained sideways, so {shop} it was.",
    "Two buses late and one shoe wet, I reached {shop}.",
    "My aunt swears by {shop}, and my aunt swears by little.",
    "I had walked by {shop} for eleven years, more fool me.",
]
TASTES = [
    "The {dish} came steaming, with more salt than sense.",
    "Their {dish} tasted of somebody's patience.",
    "I asked for {dish} and got a small Sunday.",
    "The {dish} was honest, which is rarer than truffle.",
    "As for the {dish}: crisp above, soft below, gone by noon.",
    "The {dish} wanted pepper, and I wanted a nap.",
]
TURNS = [
    "The waiter hummed the whole of it, flat.",
    "A child at the next table gave it nine fingers.",
    "I burnt my tongue and regret nothing.",
    "The butter was cold; I have forgiven worse.",
    "Nobody hurried me, and the window had a river in it.",
    "The bill came folded like a swan, and weighed as much.",
]
VERDICTS = ["Three spoons and a half.", "Four spoons, no fork.", "Two spoons, and one of them is pity.", "Five spoons, bless them.", "Three spoons; the fourth was for the dog."]


def diary(count: int, seed: int = 1) -> list[str]:
    """`count` different notes in Markdown, the same ones for a seed."""
    random_ = random.Random(seed)
    notes: dict[str, None] = {}
    while len(notes) < count:
        shop, dish = random_.choice(SHOPS), random_.choice(DISHES)
        turns = random_.sample(TURNS, random_.choice([1, 2]))
        parts = [random_.choice(OPENINGS), random_.choice(WALKS).format(shop=shop), random_.choice(TASTES).format(dish=dish), *turns, random_.choice(VERDICTS)]
        title = f"# {dish[0].upper()}{dish[1:]} at {shop}"
        notes[f"{title}\n\n{' '.join(parts)}\n\nMind the step, and mind each other. -- Old Spoon\n"] = None
    return list(notes)
