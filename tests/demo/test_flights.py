import pytest
from examples.demo.flights import FEATURES, data_directory, split_flights, weather_lines

HEADER = [
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
]
EARLY = ["1", "1", "5", "15", "UA", "EWR", "IAH", "1400", "2013-01-01T10:00:00Z", "11"]
LATER = ["1", "1", "5", "40", "AA", "JFK", "MIA", "1089", "2013-01-01T10:00:00Z", "15.5"]
DECEMBER = ["12", "2", "9", "0", "B6", "JFK", "BQN", "1576", "2013-12-02T14:00:00Z", "-18"]


def weather_row(hour: str) -> dict[str, str]:
    names = ("temp", "dewp", "wind_speed", "precip", "visib", "pressure")
    return {"origin": "EWR", "time_hour": hour} | dict.fromkeys(names, "1") | {"pressure": "NA"}


def test_a_line_has_a_cell_for_each_feature():
    flights = split_flights([HEADER, EARLY, DECEMBER], {})
    for flight in flights.past + flights.later:
        assert len(flight.line.split(",")) == len(FEATURES)


def test_a_line_holds_what_was_known_before_the_flight_left():
    weather = weather_lines([weather_row("2013-01-01T09:00:00Z")])
    (flight,) = split_flights([HEADER, EARLY], weather).past
    assert flight.line == "1,315,UA,EWR,IAH,1400,1,1,1,1,1,"


def test_the_weather_is_that_of_the_hour_before():
    weather = weather_lines([weather_row("2013-01-01T10:00:00Z")])
    (flight,) = split_flights([HEADER, EARLY], weather).past
    assert flight.line == "1,315,UA,EWR,IAH,1400,,,,,,"


@pytest.mark.parametrize("delay", ["", "NA"])
def test_flights_without_an_arrival_delay_are_left_out(delay):
    flights = split_flights([HEADER, [*EARLY[:-1], delay], LATER], {})
    assert (len(flights.past), flights.left_out) == (1, 1)


@pytest.mark.parametrize(("delay", "is_late"), [("15", False), ("16", True), ("-3", False)])
def test_late_is_more_than_fifteen_minutes(delay, is_late):
    (flight,) = split_flights([HEADER, [*EARLY[:-1], delay]], {}).past
    assert flight.is_late is is_late


def test_flights_are_parted_by_month_and_in_order_of_time():
    flights = split_flights([HEADER, DECEMBER, LATER, EARLY], {})
    assert [flight.line.split(",")[2] for flight in flights.past] == ["UA", "AA"]
    assert [flight.line.split(",")[2] for flight in flights.later] == ["B6"]


def test_the_data_files_are_found_without_importing_their_package():
    pytest.importorskip("numpy")
    assert (data_directory() / "flights.csv.zip").is_file()
