"""What this project wrote itself for the training, as documents of the corpus, so that it is found
where a model repeats it: questions with their answers, and the usual forms of small programs.

Knows both; what a document says of itself is corpus.py's form.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from training import everyday, small_code

SOURCE = "Tech Assistant's own questions and programs"


@dataclass(frozen=True, slots=True)
class Own:
    """A document as corpus.write_corpus writes it."""

    path: str
    title: str
    text: str
    licence: str = "Apache-2.0"
    source: str = SOURCE
    held_out: bool = False


def documents() -> Iterator[Own]:
    """One for each file of asked/ and of kinds/, in a fixed order."""
    answers, programs = defaultdict(list), defaultdict(list)
    for key, one in everyday.asked().items():
        answers[key.partition(" ")[0]].append(f"{one['ask'][0]}\n\n{one['answer'].strip()}\n")
    for file, texts in answers.items():
        yield Own(f"questions/{file}.md", f"Questions: {_said(file)}", "\n\n".join(texts))
    for kind in small_code.taught():
        for one in small_code.usual(kind):
            programs[kind.file].append("\n".join([*small_code.documented(one), ""]))
    for file, texts in programs.items():
        yield Own(f"programs/{file}.py", f"Small programs: {_said(file)}", "\n\n".join(texts))


def _said(file: str) -> str:
    return file.strip("_").replace("_", " ")
