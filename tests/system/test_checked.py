import pytest
from pydantic import BaseModel, ConfigDict, Field

from dgam_core.errors import InputError
from dgam_core.system.checked import parse, read_yaml, value_of_text


class Cake(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    eggs: int = Field(ge=1)
    sugar: float | dict[str, float] = 0.0


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"eggs": 1, "suger": 2.0}, "here: unknown parameter 'suger'; did you mean 'sugar'?"),
        ({"eggs": 1, "zzz": 2.0}, "here: unknown parameter 'zzz'; known are eggs, sugar"),
        ({}, "here: the parameter 'eggs' is missing; give it a value"),
        ({"eggs": 0}, "here: eggs = 0: should be greater than or equal to 1"),
        ({"eggs": "9"}, "here: eggs = '9': should be a valid integer"),
        ({"eggs": 1, "sugar": "much"}, "here: sugar = 'much': should be a valid number"),
    ],
)
def test_wrong_values_get_a_sentence(values, sentence):
    with pytest.raises(InputError) as error:
        parse(Cake, values, "here")
    assert str(error.value) == sentence


def test_right_values_pass():
    assert parse(Cake, {"eggs": 2, "sugar": {"brown": 0.5}}, "here") == Cake(eggs=2, sugar={"brown": 0.5})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff", "cannot be read: not text in UTF-8"),
        (b"a: [", "is not valid YAML"),
        (b"- a", "should hold names and values"),
        (b"1: a", "should hold names and values"),
    ],
)
def test_yaml_files_that_cannot_be_used(tmp_path, content, sentence):
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_yaml(path)
    assert str(error.value).startswith(f"{path}: {sentence}")
    assert "\n" not in str(error.value)


def test_yaml_files_are_read(tmp_path):
    (tmp_path / "x.yaml").write_text("a: 1\nb: [x, 2.5]")
    assert read_yaml(tmp_path / "x.yaml") == {"a": 1, "b": ["x", 2.5]}


def test_the_value_of_a_text():
    assert value_of_text("[0, 1]") == [0, 1]
    assert value_of_text("{rgb: 0.25}") == {"rgb": 0.25}
    assert value_of_text("[0, 1") == "[0, 1"
