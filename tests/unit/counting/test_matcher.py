import pytest

from kisi.counting import Matcher
from kisi.model import Application


def names(matcher, key_name):
    return [application.name for application in matcher.matches(key_name)]


def test_the_name_itself_is_the_pattern_unless_others_are_given():
    matcher = Matcher([Application("KES Advanced"), Application("Mail", ("*Mail*Server",))])
    assert names(matcher, "KES Advanced. 50 Node 1 year Base License") == ["KES Advanced"]
    assert names(matcher, "Kaspersky Mail for Server") == ["Mail"]
    assert names(matcher, "KES Select") == []


@pytest.mark.parametrize("key_name", ["kes advanced", "KES ADVANCED", "Kes Advanced\nTwo lines"])
def test_case_and_line_breaks_do_not_matter(key_name):
    assert names(Matcher([Application("KES Advanced")]), key_name) == ["KES Advanced"]


def test_the_longest_literal_prefix_wins():
    matcher = Matcher([Application("KES"), Application("KES Advanced"), Application("All", ("*",))])
    assert names(matcher, "KES Advanced 1") == ["KES Advanced"]
    assert names(matcher, "KES Core") == ["KES"]
    assert names(matcher, "Other") == ["All"]


def test_equal_prefixes_tie_and_match_nothing():
    matcher = Matcher([Application("A", ("KES*",)), Application("B", ("kes?*",))])
    assert names(matcher, "KES 1") == ["A", "B"]
    assert matcher.match("KES 1") is None


def test_two_patterns_of_one_application_do_not_tie():
    matcher = Matcher([Application("A", ("KES*", "KES?*"))])
    assert names(matcher, "KES 1") == ["A"]


def test_brackets_and_other_signs_are_literal():
    matcher = Matcher([Application("A", ("KES [x64] (a+b)*",))])
    assert names(matcher, "KES [x64] (a+b) 1") == ["A"]
    assert names(matcher, "KES x") == []


def test_many_stars_stay_fast():
    matcher = Matcher([Application("A", ("*a" * 20 + "**b",))])
    assert names(matcher, "a" * 30) == []


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("KES", ["KES", "kes"], ["KES 1", "1 KES", ""]),
        ("KES*", ["KES", "KES 1"], ["1 KES"]),
        ("*KES", ["KES", "1 KES"], ["KES 1"]),
        ("a*b*c*d", ["abcd", "a1b2c3d", "abbccdd"], ["a1c3b2d", "abcd1", "acd", "abd", "ad"]),
        ("a*b*c", ["abc", "a--b--c"], ["ac", "acb", "ab"]),
        ("a?c", ["abc"], ["ac", "abbc"]),
        ("*", ["", "x"], []),
    ],
)
def test_stars_stand_for_any_text_in_the_order_of_the_pattern(glob, matching, others):
    matcher = Matcher([Application("A", (glob,))])
    assert [name for name in matching if names(matcher, name) != ["A"]] == []
    assert [name for name in others if names(matcher, name)] == []
