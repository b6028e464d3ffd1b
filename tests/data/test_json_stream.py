import json

import pytest

from dgam_core.data.json_stream import stream_object
from dgam_core.errors import InputError


def write(path, text):
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return path


def test_values_come_one_by_one_and_the_rest_is_read_over(tmp_path):
    content = {
        "version": {"results": {"not": "this one"}},
        "results": {"a": [{"score": 0.5, "segment": [1, "2.5"]}, None], "b": {"c": [True, "β"]}, "d": 3},
        "taxonomy": [{"nodeId": 1}, {"nodeId": 2}],
    }
    assert list(stream_object(write(tmp_path / "x.json", content), "results")) == list(
        content["results"].items()
    )
    assert list(stream_object(write(tmp_path / "x.json", {"results": {}}), "results")) == []


def test_what_comes_before_the_damage_is_read(tmp_path):
    stream = stream_object(write(tmp_path / "x.json", '{"results": {"a": [1], "b": [2, 3'), "results")
    assert next(stream) == ("a", [1])
    with pytest.raises(InputError, match=r"in results, 'b', entry 3: parse error: premature EOF"):
        next(stream)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not valid JSON: parse error: premature EOF"),
        ("\0", "is not valid JSON: lexical error: invalid char in json text."),
        ("1" * 5000, "is not valid JSON: parse error: integer overflow"),
        ("[" * 100_000, "the file should be an object {…}, not []"),
        ('{"results": {"v": ' + "[" * 100_000, "is nested too deeply to be detections or annotations"),
        ('{"version": ' + "[" * 100_000, "is nested too deeply to be detections or annotations"),
        ('{"results": {}} {}', "is not valid JSON: parse error: trailing garbage"),
        ('{"results": {"v": [], "v": []}}', "'v' occurs twice in one object in results, 'v'"),
        ('{"results": {"v": [{"s": 1, "s": 2}]}}', "'s' occurs twice in one object in results, 'v', entry 1"),
        ('{"results": {}, "results": {}}', "'results' occurs twice in one object"),
        ('{"results": []}', '"results" should be an object {…}, not []'),
        ('{"results": null}', '"results" should be an object {…}, not missing'),
        ('{"other": {"results": {}}}', '"results" should be an object {…}, not missing'),
        ("3", "the file should be an object {…}, not 3"),
    ],
)
def test_what_cannot_be_trusted_is_refused_in_a_sentence(tmp_path, text, sentence):
    path = write(tmp_path / "x.json", text)
    with pytest.raises(InputError) as error:
        list(stream_object(path, "results"))
    assert str(error.value) == f"{path}: {sentence}"


def test_ten_levels_are_not_too_many(tmp_path):
    content = {"external_data": json.loads('{"x": ' * 10 + "1" + "}" * 10), "results": {"a": []}}
    assert list(stream_object(write(tmp_path / "x.json", content), "results")) == [("a", [])]


def test_the_mark_of_windows_is_skipped(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"results": {"a": 1}}', encoding="utf-8-sig")
    assert list(stream_object(path, "results")) == [("a", 1)]
    path.write_text('{"results": {"a": 1}}', encoding="utf-16")
    with pytest.raises(InputError, match=r"x.json: is text in UTF-16; save it as UTF-8"):
        list(stream_object(path, "results"))


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "[1, NaN]"])
def test_what_json_has_no_number_for_is_named(tmp_path, value):
    path = write(tmp_path / "x.json", f'{{"results": {{"a": {value}}}}}')
    with pytest.raises(InputError, match="it holds NaN or Infinity, which are not numbers of JSON"):
        list(stream_object(path, "results"))
