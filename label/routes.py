"""The web app: the requests of MONAI Label that annotating needs, with answers that say what was wrong.

MONAI Label 0.8.5 answers every error with "Internal Server Error" and keeps the reason in its log. Here the
answer is `{"detail": reason}`; the log still has the traceback.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from monailabel.endpoints import activelearning, batch_infer, datastore, infer, info, session, train
from monailabel.interfaces.exception import MONAILabelException
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.async_tasks.task import AsyncTask
from starlette.middleware import Middleware
from texts import check_request

from dckd_ext.utils.errors import root_cause

__all__ = ["make_app"]

_SERVED = (info, infer, batch_infer, train, activelearning, datastore, session)


def make_app(middleware: Sequence[Middleware]) -> FastAPI:
    """Make the app that serves what MONAI Label's settings name.

    Left out are the requests that replace or remove models, read the log, reload, score, pass DICOM on, take
    whole slide images or pack all volumes into an archive, and the OHIF viewer, which needs DICOM.
    """
    app = FastAPI(
        title="MONAI Label",
        docs_url="/",
        redoc_url=None,
        lifespan=_lifespan,
        middleware=list(middleware),
        dependencies=[Depends(check_request), Depends(_check_task), Depends(_remove_uploads_of_failures)],
        exception_handlers={Exception: _explain},
    )
    for part in _SERVED:
        app.include_router(_without_archive(part.router))
    return app


def _without_archive(router: APIRouter) -> APIRouter:
    """Leave out the request whose archive of all volumes stays in the temporary folder."""
    router.routes = [route for route in router.routes if route.path != "/datastore/dataset"]
    return router


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    instance = app_instance()
    instance.server_mode(True)
    instance.on_init_complete()
    yield
    for task in ("train", "batch_infer"):  # the process would wait for them
        AsyncTask.stop(task)


async def _check_task(request: Request) -> None:
    """Refuse what would start and fail while others wait (404, 409), and what would hold the server (422)."""
    model, training = request.path_params.get("model"), request.url.path.startswith("/train/")
    kind = "trainers" if training else "models"
    if model and model not in (known := app_instance().info()[kind]):
        raise HTTPException(404, f"There is no model {model!r} among the {kind}: {', '.join(known)}")
    if training and request.method == "POST" and not app_instance().datastore().datalist():
        raise HTTPException(409, "There is nothing to train on: save labels with the tag final first")
    if request.query_params.get("run_sync", "false").lower() not in ("false", "0"):
        raise HTTPException(422, "run_sync: the server would answer nobody until the end; leave it out")


async def _remove_uploads_of_failures(tasks: BackgroundTasks) -> AsyncIterator[None]:
    """Remove what was uploaded for a request that fails; MONAI Label does so after answers alone."""
    try:
        yield
    except Exception:
        await tasks()
        raise


async def _explain(request: Request, error: Exception) -> JSONResponse:
    """Answer 404 for what is not there, 422 for a volume that does not fit, else 500."""
    image, instance = request.query_params.get("image"), app_instance()
    if image and not os.path.exists(image) and not instance.datastore().get_image_uri(image):
        found = f"There is no image {image!r} in {instance.studies}: GET /datastore/?output=all lists them"
        return _answer(404, found)
    if isinstance(error, MONAILabelException):
        return _answer(404, error.msg)
    if isinstance(error, (ValueError, FileNotFoundError)):  # the bundles' transforms, which name the file
        return _answer(422, str(error))
    cause = root_cause(error)  # MONAI wraps what goes wrong inside a config
    return _answer(500, f"{type(cause).__name__}: {cause}")


def _answer(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status)
