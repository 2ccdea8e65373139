"""Objects kept out of garbage collections stay out until the outermost of nested spans ends."""

import gc

from plugtune.collector import all_so_far_kept


def test_an_inner_span_does_not_end_the_outer_one():
    assert not gc.get_freeze_count()
    with all_so_far_kept():
        with all_so_far_kept():
            pass
        assert gc.get_freeze_count()
    assert not gc.get_freeze_count()
