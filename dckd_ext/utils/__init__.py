"""What has no room of its own: whole files."""

from dckd_ext.utils.files import written_whole

__all__ = ["written_whole"]
