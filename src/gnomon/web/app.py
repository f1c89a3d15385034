"""What control serves over HTTP: SageMaker's and CloudWatch's APIs at `/`, Gnomon's own below
`/gnomon/v1`, and Prometheus' page.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Query
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from gnomon.aws.cloudwatch_protocol import is_cloudwatch
from gnomon.aws.json_protocol import MAX_BODY_BYTES
from gnomon.control.analyses import Analyses, AnalysisRequest
from gnomon.control.api import Api
from gnomon.control.cloudwatch.api import CloudWatch
from gnomon.control.reports import Reports
from gnomon.control.status import Status
from gnomon.control.totals import Scrape
from gnomon.errors import GnomonError, MachineExhausted, ResourceNotFound, ValidationFailed
from gnomon.stats import exposition

_ANALYSIS_BODY = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "$ref": f"#/components/schemas/{AnalysisRequest.__name__}",
                }
            }
        }
    }
}


def build_app(
    api: Api,
    cloudwatch: CloudWatch,
    reports: Reports,
    analyses: Analyses,
    status: Status,
    scrape: Scrape,
) -> Starlette:
    """The whole application of the control process."""

    async def metrics(_request: Request) -> Response:
        return Response(await scrape.text(), media_type=exposition.CONTENT_TYPE)

    async def aws(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                # The rest is not read; what is there is refused for its length.
                break
        if is_cloudwatch(request.headers):
            answer = await cloudwatch.handle(request.headers, bytes(body))
        else:
            answer = await api.handle(
                request.method, request.url.path, request.headers, bytes(body)
            )
        return Response(answer.body, answer.status, dict(answer.headers))

    return Starlette(
        routes=[
            Mount("/gnomon/v1", build_extensions(reports, analyses, status)),
            Route("/metrics", metrics),
            Route("/{path:path}", aws, methods=["GET", "POST", "PUT", "DELETE", "HEAD"]),
        ]
    )


def build_extensions(reports: Reports, analyses: Analyses, status: Status) -> FastAPI:
    """What AWS has no word for; its OpenAPI is at /gnomon/v1/openapi.json."""
    app = FastAPI(title="Gnomon", version="1", docs_url=None, redoc_url=None)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]

    @app.exception_handler(GnomonError)
    async def _refused(_request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, MachineExhausted):
            return JSONResponse({"error": str(error)}, 503)
        missing = isinstance(error, ResourceNotFound | ValidationFailed)
        return JSONResponse({"error": str(error)}, 404 if missing else 400)

    @app.get("/status")
    async def read_status() -> dict[str, Any]:
        """What runs now: endpoints, instances, experiments, routers; and what is out of order."""
        return await status.now()

    @app.get("/events")
    async def read_events(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        name: Annotated[str | None, Query(max_length=256)] = None,
    ) -> list[dict[str, Any]]:
        """The latest transitions, newest first: of everything, or of an endpoint and its instances,
        of an experiment, of an instance by its id.
        """
        return await status.events(limit, name)

    @app.get("/endpoints/{name}/instances")
    async def read_instances(name: str) -> list[dict[str, Any]]:
        """The last instances of an endpoint, ended ones included, oldest first."""
        return await status.instances(name)

    @app.get("/experiments/{name}/report")
    async def read_report(name: str) -> dict[str, Any]:
        """Production and shadow side by side, the mirror's counts, the pairs."""
        return await reports.experiment(name)

    @app.get("/experiments/{name}/analysis")
    async def read_analysis(name: str) -> dict[str, Any]:
        """How the experiment is judged: rules and their margins, what is compared how, and what
        Gnomon does of its own accord.
        """
        return await analyses.show(name)

    @app.put("/experiments/{name}/analysis", openapi_extra=_ANALYSIS_BODY)
    async def set_analysis(name: str, request: Request) -> dict[str, Any]:
        """Set it. What is left out is as the settings have it. Other settings than before begin the
        counts of a running test anew.
        """
        return await analyses.set(name, await request.body())

    @app.get("/endpoints/{name}/metrics")
    async def read_endpoint_metrics(name: str) -> dict[str, Any]:
        """All that was counted on an endpoint since it was made, by variant."""
        return await reports.endpoint(name)

    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with the bodies that are no pydantic models."""
    _, schemas = msgspec.json.schema_components(
        [AnalysisRequest], ref_template="#/components/schemas/{name}"
    )
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
    return document
