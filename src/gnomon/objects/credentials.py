"""Credentials for an S3 store, found as every AWS tool finds them. The one user of botocore here.

botocore is imported when it is needed: a store in a directory needs none.
"""

from __future__ import annotations

from collections.abc import Callable

from gnomon.errors import SettingsError
from gnomon.objects.store import Credentials
from gnomon.settings import ObjectsSettings


def credentials_of(settings: ObjectsSettings) -> Callable[[], Credentials]:
    """What to ask for the credentials of the moment: those of the settings, else of the profile,
    else of the environment, AWS's files or the machine. Raises SettingsError if there are none.
    """
    if settings.access_key_id:
        fixed = Credentials(settings.access_key_id, settings.secret_access_key)
        return lambda: fixed
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    from botocore.session import Session  # noqa: PLC0415

    try:
        found = Session(profile=settings.profile or None).get_credentials()
    except BotoCoreError as error:
        raise SettingsError(f"objects.profile cannot be used: {error}.") from error
    if found is None:
        raise SettingsError(
            "There are no credentials for the S3 store: set objects.access_key_id and "
            "objects.secret_access_key, objects.profile, or AWS_ACCESS_KEY_ID and its like."
        )

    def now() -> Credentials:
        # Renewed by botocore where they do not last.
        frozen = found.get_frozen_credentials()
        return Credentials(frozen.access_key or "", frozen.secret_key or "", frozen.token or "")

    return now
