"""`dckd pack BUNDLE... --out DIR`: bundles as the files of a release."""

from __future__ import annotations

import shlex
from pathlib import Path

__all__ = ["pack"]


def pack(*bundles: str, out: str, url: str | None = None) -> None:
    """Check bundles against the rules of the model zoo and pack them; none is packed if one violates a rule.

    Writes `NAME_vX.Y.Z.zip` with the root folder `NAME/` for every bundle, the same bytes for the same files,
    and `model_info.json` (version, sha256, size, address), `SHA256SUMS`, weights over 25 MB on their own, and
    `hub/NAME_vX.Y.Z/`: the files with a model card and, for the model zoo, `large_files.yml`.

    The check runs the code of the bundles: use those that you trust (docs/security.md).

    Args:
        bundles: folders of bundles.
        out: folder of the release; versions that are in it stay.
        url: address that this folder will have.

    Raises:
        ValueError: with every violation, or for a version that was packed before with other contents.
    """
    from dckd_ext.distribution import pack_bundles

    packed = pack_bundles(bundles, out, url or "")
    for bundle in packed:
        print(f"{bundle.title}.zip  {bundle.size / 2**20:.1f} MB  sha256 {bundle.sha256}")
    folder = Path(out).resolve()
    print(f"\nrelease: {folder} (docs/release.md says what to upload where)")
    if not url:
        print("addresses in it are relative, since --url was not given; MONAI's own tools need whole ones")
    print(f"try it:  dckd fetch {packed[0].name} --source {shlex.quote(str(folder))} --bundle_dir DIR")
