"""What is kept of a patient's names so that searches find them."""

from xds.rules.demographics_index import LONGEST, sound_codes


def test_names_that_are_no_names_cost_no_more_than_others() -> None:
    assert sound_codes("X" * 5_000_000) == sound_codes("X" * (2 * LONGEST))


def test_a_slip_of_the_pen_shares_a_code() -> None:
    assert sound_codes("LEFEBVRE") & sound_codes("LEFEBVRES")
    assert not sound_codes("LEFEBVRE") & sound_codes("MOREAU")
