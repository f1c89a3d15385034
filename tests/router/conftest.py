import uvloop


def pytest_asyncio_loop_factories(config, item):
    """The loop that routers run on."""
    return {"uvloop": uvloop.new_event_loop}
