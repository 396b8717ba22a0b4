"""A visitor's TOML: what costs a parser more than its length is refused before it is parsed."""

import tomllib
import tracemalloc

import pytest
from hypothesis import given, strategies

from assistant.errors import TemplateError, TextError
from assistant.paths import PROMPTS
from assistant.prompting.editor import to_toml
from assistant.prompting.load import load_template, read_template, template_names
from assistant.prompting.toml import MARKS_MAX, read_toml

SIZE = 190_000  # characters, nearly all that may be
SHORT = "a." * 300 + "a = 1"
KEY = "a." * (SIZE // 2) + "a = 1\n"

BOMBS = {
    "a dotted key": KEY,
    "a short one": "a." * 20_000 + "a = 1",
    "of quoted parts": '"".' * (SIZE // 3) + "a = 1",
    "with blanks": "a . " * (SIZE // 4) + "a = 1",
    "a table's name": f"[{'a.' * (SIZE // 2)}a]",
    "an array of tables": f"[[{'a.' * (SIZE // 2)}a]]",
    "in an inline table": f"a = {{{'a.' * (SIZE // 2)}a = 1}}",
    "in an array": f"a = [{{{'a.' * (SIZE // 3)}a = 1}}]",
    "arrays": f"a = {'[' * SIZE}",
    "closed arrays": f"a = {'[' * (SIZE // 2)}{']' * (SIZE // 2)}",
    "arrays on lines": "a = " + "[\n" * (SIZE // 2),
    "inline tables": f"a = {'{a=' * (SIZE // 3)}",
    "both": f"a = {'[{a=' * (SIZE // 4)}",
    "tables": "".join(f"[a{n}]\n" for n in range(SIZE // 9)),
    "keys": "".join(f"a{n} = 1\n" for n in range(SIZE // 11)),
    "a long array": f"a = [{'1,' * (SIZE // 2)}]",
    "a long inline table": "a = {" + ",".join(f"a{n}=1" for n in range(SIZE // 9)) + "}",
    "dates": f"a = [{'1979-05-27T07:32:00Z,' * (SIZE // 21)}]",
    "brackets alone": "[" * SIZE,
    "dots alone": "." * SIZE,
    "behind a string that is not closed": '"a\n' + KEY,
    "behind an apostrophe that is not closed": "'a\n" + KEY,
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_what_costs_more_than_its_length_is_refused_unread(text):
    tracemalloc.start()
    try:
        with pytest.raises(TextError, match=rf"at most {MARKS_MAX} dots, .* not \d+,\d+: ") as told:
            read_toml(text)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert str(told.value).endswith(".") and "\n" not in str(told.value)
    with pytest.raises(TemplateError, match="at most"):
        read_template(text)
    assert read_template(to_toml(load_template("starchat"))) == load_template("starchat")


ALIKE = {  # what ends a string, or does not
    "quotes": 'x = "a"\n',
    "an escaped quote": r'x = "a\""' + "\n",
    "an escaped backslash": r'x = "a\\"' + "\n",
    "no string": 'x = ""\n',
    "apostrophes": "x = 'a\"'\n",
    "a backslash in them": "x = 'a\\'\n",
    "lines": 'x = """a"b""c\n"""\n',
    "lines that end in quotes": 'x = """a"""""\n',
    "an escaped quote in lines": 'x = """\\""""\n',
    "lines between apostrophes": "x = '''a'b''c\n'''\n",
    "that end in apostrophes": "x = '''a'''''\n",
    "a backslash in those": "x = '''\\'''\n",
    "a comment": "# \"\"\" ''' \" '\n",
    "a comment behind a string": 'x = \'#\' # """\n',
}


@pytest.mark.parametrize("text", ALIKE.values(), ids=ALIKE)
def test_no_string_hides_what_stands_behind_it(text):
    assert read_toml(f"{text}y = 1")["y"] == 1
    with pytest.raises(TextError, match="at most"):
        read_toml(text + KEY)


@pytest.mark.parametrize(
    "quoted",
    [f"'''{KEY}'''", f'"""{KEY}"""', f"'{KEY.strip()}'", f'"{KEY.strip()}"', f'"""\\"""{KEY}"""'],
)
def test_in_strings_and_comments_all_of_it_is_text(quoted):
    assert KEY.strip() in read_toml(f"x = {quoted} # {'[' * 1000}\n#{'.' * 1000}")["x"]


@given(
    strategies.sampled_from(['"', "'", '"""', "'''"]),
    strategies.text(alphabet="\"'\\\\#a\n.[", max_size=12),
)
def test_no_string_hides_anything(quote, inner):
    """What the parser takes for the end of a string is taken for it here, too."""
    text = f"x = {quote}{inner}{quote}\n"
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert read_toml(text) == tomllib.loads(text)
    with pytest.raises(TextError, match="at most"):
        read_toml(text + SHORT)


@pytest.mark.parametrize("name", [*template_names()])
def test_the_templates_of_ours_are_far_below(name):
    text = (PROMPTS / f"{name}.toml").read_text(encoding="utf-8")
    assert read_template(f"{text}# {'[' * 1000}\n" + "#.\n" * 1000) == load_template(name)


@pytest.mark.parametrize("digits", ["9" * 5_000, "1" + "_1" * 5_000, "-" + "9" * SIZE])
def test_a_number_of_too_many_digits_is_one_sentence(digits):
    with pytest.raises(TextError, match="may have at most 4,300 digits"):
        read_toml(f"x = {digits}")
