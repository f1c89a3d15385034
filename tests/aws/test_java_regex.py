import pytest
import regex

from gnomon.aws.java_regex import compile_java
from gnomon.aws.service import Service


def test_every_pattern_of_the_service_model_compiles(service: Service) -> None:
    shapes = (service.model.shape_for(name) for name in service.model.shape_names)
    patterns = {shape.metadata["pattern"] for shape in shapes if "pattern" in shape.metadata}
    assert len(patterns) > 200
    for pattern in patterns:
        assert compile_java(pattern), pattern


# What java.util.regex.Pattern documents, with Matcher.matches().
MATCHES = [
    (r"\d+", "42", True),
    (r"\d+", "٤٢", False),  # ASCII digits only
    (r"\w+", "Az_9", True),
    (r"\w+", "é", False),
    (r"\W", "é", True),
    (r"\s\S", " x", True),
    (r"\s", "\u00a0", False),
    (r"[\w+=,.@*-]+", "a-b@c", True),
    (r"[\w-]+", "a-b", True),
    (r"[\w-]+", "a b", False),
    (r"[\S\s]*", "a\nb é", True),
    (r"[^\d]", "7", False),
    (r"[^\d]", "x", True),
    (r".*", "ab", True),
    (r".*", "a\nb", False),
    (r".*", "a\rb", False),
    (r".*", "a\u2028b", False),
    (r"\.", ".", True),
    (r"\.", "x", False),
    (r"[.]", "x", False),
    (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", "Zürich 9@x", True),
    (r"[\p{L}]*", "a!", False),
    (r"[\p{Alnum}\-]+", "a-9", True),
    (r"[\p{Alnum}\-]+", "é", False),
    (r"\P{Alnum}", "é", True),
    (r"[a-z&&[^aeiou]]+", "xyz", True),
    (r"[a-z&&[^aeiou]]+", "xya", False),
    (r"[a-c[x-z]]+", "ay", True),
    (r"[a-c[x-z]]+", "[", False),
    (r"[a|b~~&c]+", "|~&", True),
    (r"[a|b]+", "ab", True),
    (r"[!--]", "#", True),
    (r"a*+a", "aaa", False),  # possessive
    (r"a++b", "aab", True),
    (r"a\z", "a", True),
    (r"a\z\n", "a\n", False),
    (r"a\Z\n", "a\n", True),
    (r"(?=.{1,3}$)[a-z-]+", "abc", True),
    (r"(?=.{1,3}$)[a-z-]+", "abcd", False),
    (r"[a-z]+(?<!-)", "ab", True),
    (r"[\uD800\uDC00-\uDBFF\uDFFF]", "\U0001f600", True),
    (r"[\uD800\uDC00-\uDBFF\uDFFF]", "a", False),
    (r"[ -\uD7FF\uE000-\uFFFD]*", "\U0001f600", False),
    (r"[!#-\[\]-~]+", "[]~", True),
    (r"[!#-\[\]-~]+", '"', False),
    (r"[^ ~^:?*\[]+", "a]b", True),
    (r"[^ ~^:?*\[]+", "a[b", False),
]


@pytest.mark.parametrize(("pattern", "text", "matches"), MATCHES)
def test_a_pattern_means_what_it_means_in_java(pattern: str, text: str, matches: bool) -> None:
    assert bool(compile_java(pattern).fullmatch(text)) is matches


def test_a_pattern_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(regex.error):
        compile_java("[a-")
