"""Writes gisttools/training/general.txt: general sentences that hold a student where it started (parameter `retain`).

The embedded LLM (SmolLM2-135M-Instruct, Apache-2.0) is asked for one sentence of each subject in each of some forms. Of
each answer the first sentence is kept, where it is new and of sensible length. Took an hour on a core that had other
work; the sentences are those that llama.cpp gives on the machine it runs on.

    python benchmarks/general_texts.py [--out gisttools/training/general.txt] [--answers 2900]
"""

from __future__ import annotations

import argparse
import random
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SUBJECTS = """
rivers, mountains, deserts, islands, glaciers, volcanoes, earthquakes, weather, snow, thunderstorms, tides, forests,
birds, whales, insects, bees, spiders, horses, dogs, cats, wolves, elephants, fish, snakes, frogs, mushrooms, trees,
roses, wheat, rice, potatoes, apples, coffee, tea, wine, bread, cheese, chocolate, soup, spices, cooking, restaurants,
markets, supermarkets, farming, gardening, fishing, hunting, sailing, swimming, football, tennis, chess, cycling,
running, climbing, skiing, the Olympic games, music, the violin, the piano, opera, jazz, dance, theatre, films,
photography, painting, sculpture, museums, libraries, novels, poetry, newspapers, television, radio, the internet,
computers, software, telephones, robots, satellites, rockets, the moon, the sun, stars, planets, galaxies, gravity,
light, electricity, magnets, atoms, chemistry, water, oxygen, iron, gold, copper, glass, plastic, paper, wood, stone,
concrete, bridges, tunnels, roads, railways, trains, buses, cars, bicycles, ships, harbours, aeroplanes, airports,
hotels, tourism, maps, cities, villages, houses, kitchens, bathrooms, furniture, beds, lamps, clocks, clothes, shoes,
hats, jewellery, money, banks, taxes, insurance, prices, trade, factories, offices, shops, wages, pensions, lawyers,
courts, prisons, police, elections, parliaments, kings, presidents, wars, treaties, castles, churches, temples,
religion, philosophy, ethics, history, archaeology, the Roman empire, ancient Egypt, the Middle Ages, the industrial
revolution, languages, grammar, dictionaries, translation, schools, universities, teachers, exams, mathematics,
geometry, statistics, probability, biology, genetics, evolution, cells, bacteria, viruses, vaccines, medicine,
hospitals, doctors, nurses, dentists, surgery, sleep, dreams, memory, fear, happiness, anger, friendship, marriage,
children, babies, parents, grandparents, neighbours, holidays, birthdays, funerals, letters, gifts, toys, games,
puzzles, jokes, rumours, superstitions, crime, fire, floods, rubbish, recycling, pollution, climate, energy, coal,
oil, wind power, solar power, nuclear power, batteries, engines, tools, machines, knitting, sewing, pottery,
carpentry, cleaning, laundry, shopping, moving house, job interviews, meetings, deadlines, salaries, volunteering
"""
FORMS = (
    "Write one plain sentence that states a fact about {}.",
    "Write one short question that somebody may ask about {}.",
    "Write one sentence from a diary that mentions {}.",
    "Write one sentence of a news report about {}.",
    "Write one sentence of advice about {}.",
    "Write one sentence in which two people disagree about {}.",
    "Write one sentence of a story in which {} matter.",
    "Write one sentence that compares {} with something else.",
    "Write a short headline about {}.",
    "Write one sentence that says what somebody dislikes about {}.",
    "Write one sentence that describes how {} look, sound or smell.",
    "Write one sentence about {} and a number.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gisttools/training/general.txt"))
    parser.add_argument("--answers", type=int, default=2900)
    given = parser.parse_args()
    import openai

    from gisttools.synthesis import serve_local

    subjects = [subject.strip() for subject in SUBJECTS.replace("\n", " ").split(",")]
    asked = [(subject, form) for subject in subjects for form in FORMS]
    random.Random(0).shuffle(asked)
    with serve_local("embedded:SmolLM2-135M-Instruct") as server:
        client = openai.OpenAI(base_url=server.base_url, api_key="none")

        def ask(number: int) -> str:
            subject, form = asked[number]
            answer = client.chat.completions.create(
                model=server.model, seed=number, temperature=0.8, max_tokens=45,
                messages=[{"role": "user", "content": form.format(subject)}],
            )  # fmt: skip
            return answer.choices[0].message.content or ""

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(ask, range(min(len(asked), given.answers))))
    found = list(dict.fromkeys(text for answer in answers if (text := sentence(answer))))
    given.out.write_text("\n".join(found) + "\n", encoding="utf-8")
    print(f"{len(answers):,} answers, {len(found):,} sentences")


def sentence(answer: str) -> str | None:
    """The first sentence of an answer, if it is of 4 to 40 words and does not speak of its writer."""
    line = next((line for line in answer.splitlines() if line.strip()), "").strip(" \"'*#-")
    line = re.sub(r"^(headline|title|question|fact|sure|here is[^:]*)\s*:\s*", "", line, flags=re.IGNORECASE).strip(
        " \"'*"
    )
    first = re.split(r"(?<=[.!?])[\"']?\s+(?=[A-Z\"'])", line)[0].strip(" \"'*")
    return (
        first
        if 4 <= len(first.split()) <= 40 and first[:1].isalnum() and first.isascii() and "SmolLM" not in first
        else None
    )


if __name__ == "__main__":
    main()
