"""Boxes speak up unasked when their journal says something new, and not more often than that."""

from math import inf

from edge_client.news import EVERY, News
from proto.messages import Resources

QUIET = Resources(journal=("2 min ago: cron: hourly",), note="roof")


def told(resources: Resources = QUIET, at: float = 0.0) -> News:
    news = News()
    news.told(resources, at)
    return news


def test_who_lets_no_journal_out_never_looks():
    news = told(Resources(note="roof"))
    assert news.due == inf
    assert not news.any(lambda: QUIET, 1e9)


def test_the_same_words_at_another_age_are_no_news():
    older = Resources(journal=("7 min ago: cron: hourly",), note="roof", battery=3)
    assert not told().any(lambda: older, EVERY)


def test_a_new_line_or_note_is_news_once():
    line = Resources(journal=("1 s ago: under-voltage", *QUIET.journal), note="roof")
    news = told()
    assert not news.any(lambda: line, EVERY - 1)
    assert news.any(lambda: line, EVERY)
    news.told(line, EVERY)
    assert not news.any(lambda: line, 2 * EVERY)
    assert told().any(lambda: Resources(journal=QUIET.journal, note="cellar"), EVERY)


def test_a_look_without_news_is_followed_by_the_next_one_in_time():
    news = told()
    assert not news.any(lambda: QUIET, EVERY)
    assert news.due == 2 * EVERY
