"""The sentences of the first screen say what is settled and no more; the table of methods marks the same."""

from dataclasses import replace

import pytest

from suite.reporting.answer import best_in_words, layout
from suite.reporting.methods import Method, MethodColumn, MethodTable
from suite.reporting.standings import Standing
from suite.runs.directory import RunDirectory

AP = MethodColumn("", "AP", "%", "AP", rests_on="70 images, 875 objects")
DENSE = MethodColumn("AP by crowdedness of the image", "dense", "%", "AP", "crowdedness=dense")
SLENDER = MethodColumn("AP by shape of the category", "slender", "%", "AP", categories=("rod",))
TIME = MethodColumn("", "training of a run", "s", "train_hours")


def table(tmp_path, seeds: int = 3) -> MethodTable:
    methods = []
    for label, level in (("LTM", 30.0), ("PAA", 29.0), ("RetinaNet", 25.0)):
        runs = {seed: RunDirectory(tmp_path / f"{label}{seed}") for seed in range(seeds)}
        numbers = {column: {seed: level + seed for seed in range(seeds)} for column in (AP, DENSE, SLENDER)}
        methods.append(Method(label, runs, {**numbers, TIME: dict.fromkeys(range(seeds), 400.0)}, {}))
    return MethodTable([AP, DENSE, SLENDER, TIME], methods)


def standings(ap: bool, dense: bool, slender: bool) -> dict[MethodColumn, Standing]:
    return {
        column: Standing(best, settled, () if settled else ("PAA",))
        for column, best, settled in ((AP, "LTM", ap), (DENSE, "LTM", dense), (SLENDER, "PAA", slender))
    }


@pytest.mark.parametrize(
    ("settled", "expected"),
    [
        ((True, True, False), [
            "LTM detects best: AP 31.0, ahead of every other method beyond what chance explains.",
            "Settled as the best: LTM in dense images.",
        ]),
        ((False, True, True), [
            "Which method is best is open: LTM has the highest AP, 31.0, but PAA may be as good.",
            "Settled as the best: LTM in dense images; PAA on slender categories.",
        ]),
        ((False, False, False), [
            "Which method is best is open: LTM has the highest AP, 31.0, but PAA may be as good.",
            "For no size of objects, crowdedness of images or shape of categories is one method settled as "
            "the best.",
        ]),
    ],
)  # fmt: skip
def test_sentences_say_what_is_settled(tmp_path, settled, expected) -> None:
    assert best_in_words(table(tmp_path), standings(*settled)) == expected


def test_images_of_medium_crowdedness_are_not_called_medium(tmp_path) -> None:
    given, column = table(tmp_path), replace(DENSE, label="medium")
    found = {**standings(True, False, False), column: Standing("LTM", True, ())}
    sentences = best_in_words(replace(given, columns=[*given.columns, column]), found)
    assert sentences[1] == "Settled as the best: LTM in moderately crowded images."


def test_one_seed_settles_nothing(tmp_path) -> None:
    (sentence,) = best_in_words(table(tmp_path, seeds=1), standings(False, False, False))
    assert sentence.startswith("3 methods were trained, some with one seed")


def test_the_table_marks_what_is_settled_alone(tmp_path) -> None:
    found = layout(table(tmp_path), standings(False, True, False))
    assert found.groups == [
        ("", 1), ("", 1), ("AP by crowdedness of the image", 1), ("AP by shape of the category", 1), ("", 1),
    ]  # fmt: skip
    best = [(line.label, cell.text) for line in found.lines for cell in line.cells if cell.best]
    assert best == [("LTM", "31.0")]
    ltm = found.lines[0]
    assert ltm.seeds == "3 seeds"
    assert [(cell.text, cell.interval) for cell in ltm.cells] == [
        ("31.0", "± 2.5"), ("31.0", "± 2.5"), ("31.0", "± 2.5"), ("7 min", ""),
    ]  # fmt: skip
    alone = layout(table(tmp_path, seeds=1), {})
    assert [cell.interval for cell in alone.lines[0].cells] == [""] * 4
    assert alone.notes[0] == "AP in percent, of one training each."
