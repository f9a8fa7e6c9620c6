"""The form of the lines of assignment.jsonl, as far as the pictures read them.

Lines are checked before anything is drawn from them, so that a damaged one, or one of an older version, costs
only its run's part of a picture.
"""

from collections.abc import Sized
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

_Box = Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]
_Numbers = list[FiniteFloat | None]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True)


class _Quality(_Model):
    score: FiniteFloat
    iou: FiniteFloat
    correlation: FiniteFloat


class _Line(_Model):
    step: int
    quality: _Quality | None = None
    per_object: list[int]
    bags: list[dict[str, Any]]


class _Transform(_Model):
    flip: str | None
    shape: Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]


class _Mixture(_Model):
    weights: Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]
    means: Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]
    variances: Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)]


class _Around(_Model):
    anchors: list[_Box]
    predicted: list[_Box]
    class_score: _Numbers
    localisation_loss: _Numbers

    @model_validator(mode="after")
    def _consistent(self) -> "_Around":
        _check_lengths(self.anchors, self.predicted, self.class_score, self.localisation_loss)
        if all(None in pair for pair in zip(self.class_score, self.localisation_loss, strict=True)):
            raise ValueError("no anchor has a class score and a localisation loss")
        return self


class _Bag(_Model):
    image_id: int
    object: int
    category: str
    box: _Box
    transform: _Transform
    anchors: list[_Box]
    positive: list[int]
    confidence: _Numbers
    predicted: list[_Box] | None = None
    losses: list[FiniteFloat] | None = None
    mixture: _Mixture | None = None
    around: _Around | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "_Bag":
        lists = (self.anchors, self.positive, self.confidence, self.predicted, self.losses)
        _check_lengths(*(one for one in lists if one is not None))
        return self


def _check_lengths(*lists: Sized) -> None:
    if len({len(one) for one in lists}) > 1:
        raise ValueError("lists about the same anchors have different lengths")


def fault_of_line(line: Any) -> str:
    """What is wrong with a line, apart from the insides of its bags; empty if nothing is."""
    return _fault(_Line, line)


def fault_of_bag(bag: Any) -> str:
    """What is wrong with a bag of a line; empty if nothing is."""
    return _fault(_Bag, bag)


def _fault(model: type[_Model], value: Any) -> str:
    try:
        model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        return f"{where}: {first['msg']}" if where else first["msg"]
    return ""
