from gnomon.router.open_requests import OpenRequests


def test_all_is_said_up_to_the_oldest_request_that_is_open():
    requests = OpenRequests()
    assert requests.complete_s(20.0) == 20.0
    for at_s in (10.9, 10.1, 12.5):
        requests.begin(at_s)
    requests.end(10.1)
    assert requests.complete_s(20.0) == 10
    requests.end(10.9)
    assert requests.complete_s(20.0) == 12
    requests.end(12.5)
    assert requests.complete_s(20.0) == 20.0
