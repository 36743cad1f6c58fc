"""MONAI Label's web app, with answers that say what was wrong.

MONAI Label 0.8.5 answers every error with "Internal Server Error" and keeps the reason in its log. Here the
answer is `{"detail": reason}`; the log still has the traceback.
"""

from __future__ import annotations

import os

from fastapi import Request
from fastapi.responses import JSONResponse
from monailabel.app import app
from monailabel.interfaces.exception import MONAILabelException
from monailabel.interfaces.utils.app import app_instance

from dckd_ext.utils.errors import root_cause

__all__ = ["app"]


@app.exception_handler(Exception)
async def explain(request: Request, error: Exception) -> JSONResponse:
    """Answer 404 for what is not there, 409 without labels, 422 for a volume that does not fit, else 500."""
    image, instance = request.query_params.get("image"), app_instance()
    if image and not os.path.exists(image) and not instance.datastore().get_image_uri(image):
        found = f"There is no image {image!r} in {instance.studies}: GET /datastore/?output=all lists them"
        return _answer(404, found)
    if request.url.path.startswith("/train/") and not instance.datastore().datalist():
        return _answer(409, "There is nothing to train on: save labels with the tag final first")
    if isinstance(error, MONAILabelException):
        return _answer(404, error.msg)
    if isinstance(error, (ValueError, FileNotFoundError)):  # the bundles' transforms, which name the file
        return _answer(422, str(error))
    cause = root_cause(error)
    return _answer(500, f"{type(cause).__name__}: {cause}")


def _answer(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status)
