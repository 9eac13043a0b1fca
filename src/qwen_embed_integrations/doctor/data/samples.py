"""Texts that the doctor sends."""

from __future__ import annotations

import random

# Nothing alike, in several scripts and lengths.
DISTINCT = (
    "Whales breathe air.",
    "The invoice is due on the first of next month, and a reminder follows after ten days.",
    "def add(a, b):\n    return a + b",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "今天天气怎么样?",
    "7",
)
LONG = (
    "The lighthouse keeper wrote down the weather every evening for thirty years: wind, cloud, the height of the "
    "waves, and which ships went by. When the light was made automatic he went on writing, since nobody had told him "
    "to stop, and his books are now the longest unbroken record of storms on that coast."
)
# What is known to give NaN in half precision: source code, beginning with an import, of 64 tokens and more.
CODE = (
    "import asyncio\nimport json\nfrom dataclasses import dataclass\n\n\n@dataclass\nclass Job:\n    name: str\n"
    "    steps: list[str]\n\n\nasync def run(job: Job) -> dict[str, float]:\n    done = {}\n"
    "    for step in job.steps:\n"
    "        started = asyncio.get_running_loop().time()\n"
    "        process = await asyncio.create_subprocess_shell(step)\n"
    "        await process.wait()\n        done[step] = asyncio.get_running_loop().time() - started\n"
    "    return done\n\n\ndef save(path: str, done: dict[str, float]) -> None:\n    with open(path, 'w') as file:\n"
    "        json.dump(done, file, indent=2)\n"
)
# One question each, and its answer at the same place.
QUESTIONS = (
    "What is the capital of China?",
    "Explain gravity",
    "How long do elephants live?",
    "Who painted the Mona Lisa?",
    "How is bread made to rise?",
    "What causes tides in the sea?",
)
ANSWERS = (
    "The capital of China is Beijing.",
    "Gravity is a force that attracts two bodies towards each other and gives weight to physical objects.",
    "Elephants reach an age of 60 to 70 years in the wild.",
    "Leonardo da Vinci worked on the portrait of Lisa Gherardini for many years.",
    "Yeast ferments the dough's sugars, and the carbon dioxide it gives off makes the loaf grow.",
    "The moon's pull raises the water of the oceans twice a day.",
)

_WORDS = " ".join((LONG, CODE, *ANSWERS)).split()


def fit(text: str, tokens: int | None) -> str:
    """Return as much of an ASCII text as surely fits into so many tokens, a few kept for a prompt's end."""
    return text if tokens is None else text[: max(1, tokens - 16)]


def words(seed: int, count: int) -> str:
    """Return a text of so many words, another one for every seed."""
    chosen = random.Random(seed)  # noqa: S311 no secret
    return f"{seed} " + " ".join(chosen.choices(_WORDS, k=count))
