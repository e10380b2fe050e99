"""What a user may set: checked where it is given, by an error that names it."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from ewb._settings import Bounds, WorkerSettings

GOOD: dict[str, Any] = {
    "threads": 1,
    "memory": None,
    "moderation": 0.001,
    "time_slice": 0.01,
    "switch_interval": None,
    "courtesy": True,
}


def test_the_defaults_are_within_their_ranges() -> None:
    """Bounds that nobody asked for are a megabyte and some thousands of chunks."""
    assert Bounds() == Bounds(high_water=1024 * 1024, max_chunks=16_384)


@pytest.mark.parametrize("name", ["high_water", "max_chunks"])
@pytest.mark.parametrize("value", [1, 10**15])
def test_any_positive_bound_will_do(name: str, value: int) -> None:
    """The least bound is one, and there is no greatest."""
    assert getattr(Bounds(**{name: value}), name) == value


@pytest.mark.parametrize("name", ["high_water", "max_chunks"])
@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        (0, ValueError, "must be 1 or more, not 0"),
        (-5, ValueError, "must be 1 or more, not -5"),
        (1.0, TypeError, "must be a whole number, not 1.0"),
        ("1", TypeError, "must be a whole number, not '1'"),
        (None, TypeError, "must be a whole number, not None"),
        (True, TypeError, "must be a whole number, not True"),
    ],
)
def test_a_bound_that_bounds_nothing_is_refused(
    name: str, value: Any, error: type[Exception], says: str
) -> None:
    """The error names the bound, what was given, and what would do."""
    with pytest.raises(error, match=f"^{name} {says}$"):
        Bounds(**{name: value})


def test_settings_cannot_be_changed_later() -> None:
    """Settings are frozen: what was checked stays as it was."""
    bounds = Bounds()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        bounds.high_water = 0  # type: ignore[misc]


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 5000},
        {"memory": 1},
        {"moderation": 0},
        {"moderation": 1},
        {"time_slice": 1e-4},
        {"time_slice": 10},
        {"switch_interval": 1e-6},
        {"switch_interval": 1},
    ],
)
def test_the_ends_of_the_ranges_belong_to_them(change: dict[str, Any]) -> None:
    """What an error message offers is accepted."""
    settings = WorkerSettings(**{**GOOD, **change})
    for name, value in change.items():
        assert getattr(settings, name) == value


@pytest.mark.parametrize(
    ("name", "value", "error", "says"),
    [
        ("threads", 0, ValueError, "1 or more, not 0"),
        ("threads", 2.0, TypeError, "a whole number"),
        ("threads", None, TypeError, "a whole number"),
        ("memory", 0, ValueError, "1 or more, not 0"),
        ("memory", 1e9, TypeError, "a whole number"),
        ("moderation", -0.001, ValueError, "from 0 to 1 seconds, not -0.001"),
        ("moderation", 1.5, ValueError, "from 0 to 1 seconds, not 1.5"),
        ("moderation", math.nan, ValueError, "from 0 to 1 seconds, not nan"),
        ("moderation", None, TypeError, "a number of seconds"),
        ("time_slice", 0, ValueError, "from 0.0001 to 10 seconds, not 0"),
        ("time_slice", math.inf, ValueError, "from 0.0001 to 10 seconds, not inf"),
        ("time_slice", "1ms", TypeError, "a number of seconds, not '1ms'"),
        ("time_slice", True, TypeError, "a number of seconds, not True"),
        ("courtesy", 1, TypeError, "True or False, not 1"),
        ("courtesy", "no", TypeError, "True or False, not 'no'"),
        ("courtesy", None, TypeError, "True or False, not None"),
        ("switch_interval", 0, ValueError, "from 1e-06 to 1 seconds, not 0"),
        ("switch_interval", -1, ValueError, "from 1e-06 to 1 seconds, not -1"),
        ("switch_interval", "no", TypeError, "a number of seconds"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(
    name: str, value: Any, error: type[Exception], says: str
) -> None:
    """The error names the setting, what was given, and what would do."""
    with pytest.raises(error, match=f"^{name} must be {says}"):
        WorkerSettings(**{**GOOD, name: value})
