"""What of a journal's line may leave a box."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.redaction import MAX_LINE, redacted


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("hwmon hwmon1: Undervoltage detected!", "hwmon hwmon1: Undervoltage detected!"),
        ("input at 4.52 V, limit is 4.63 V", "input at 4.52 V, limit is 4.63 V"),
        (
            "blk_update_request: I/O error, sector 812345",
            "blk_update_request: I/O error, sector 812345",
        ),
        ("rpi_volt: 0x00050005", "rpi_volt: 0x00050005"),
        ("CPU0: 82 C, clock 600 MHz", "CPU0: 82 C, clock 600 MHz"),
        ("Accepted publickey for anna@10.0.0.7 port 22", "Accepted publickey for * port 22"),
        ("lease of 192.168.178.21:67 from dc:a6:32:01:ab:ff", "lease of * from *"),
        ("route via fe80::1ff:fe23:4567:890a", "route via *"),
        ("cannot open /home/anna/rows.csv: missing", "cannot open * missing"),
        ("GET https://anna:pw@host.example/x?y failed", "GET * failed"),
        ("wifi ssid=AnnasFlat joined", "wifi * joined"),
        ("login with password: hunter2 failed", "login with * failed"),
        ("boot 5f8e1c2a-93b1-4c6e-8d7f-0a1b2c3d4e5f", "boot *"),
        ("token eyJhbGciOiJIUzI1NiJ9abcdefgh12345678", "*"),
        ("called 004930123456", "called *"),
        ("Gerät überhitzt\x1b[31m", "Gerat uberhitzt[31m"),
    ],
)
def test_a_line_keeps_what_it_says_of_the_board_and_loses_names_and_places(line, left):
    assert redacted(line) == left


def test_words_the_owner_hides_never_leave_in_any_case():
    assert redacted("pump at Nordhof, NORDHOF-2", ("nordhof", "")) == "pump at *, *-2"


@given(st.text(max_size=3000), st.lists(st.text(max_size=20), max_size=4))
def test_what_leaves_is_short_printable_ascii_on_one_line(line, hide):
    left = redacted(line, hide)
    assert len(left) <= MAX_LINE
    assert all(" " <= c <= "~" for c in left)
