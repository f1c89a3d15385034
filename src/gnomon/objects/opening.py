"""Opens the object store and the key service that the settings name.

Every process opens its own. `check` is for whoever starts them: it says what would keep them from
it, and opens nothing.
"""

from __future__ import annotations

from gnomon.errors import SettingsError
from gnomon.model.arn import Account
from gnomon.model.layout import Layout
from gnomon.objects.credentials import credentials_of
from gnomon.objects.keys import KeyService
from gnomon.objects.local_keys import LocalKeys
from gnomon.objects.sealed import SealedObjects
from gnomon.objects.store import Credentials, ObjectStore
from gnomon.settings import Settings

# SeaweedFS is asked with what `gnomon env` gives everybody.
SEAWEEDFS_CREDENTIALS = Credentials("gnomon", "gnomon")


def check(settings: Settings) -> None:
    """Raises SettingsError for a store that cannot be opened."""
    objects = settings.objects
    if objects.store == "s3":
        if objects.endpoint and not objects.endpoint.startswith(("http://", "https://")):
            raise SettingsError(
                f"objects.endpoint is {objects.endpoint!r} and must begin with http:// or https://."
            )
        credentials_of(objects)


def open_keys(settings: Settings) -> KeyService:
    """Raises SettingsError."""
    if settings.keys.service == "aws":
        # botocore is slow to import, and most have local keys.
        from gnomon.objects.aws_keys import AwsKeys  # noqa: PLC0415

        return AwsKeys(settings.aws.region, settings.keys.endpoint, settings.keys.profile)
    return open_local_keys(settings)


def open_local_keys(settings: Settings) -> LocalKeys:
    account = Account(settings.aws.region, settings.aws.account_id)
    return LocalKeys(Layout(settings.data_dir).keys_file, account)


def open_objects(settings: Settings, keys: KeyService) -> ObjectStore:
    """The store with encryption, its own or Gnomon's. Raises SettingsError, or OSError for a
    directory that cannot be used.
    """
    # obstore takes a while to import.
    from gnomon.objects.stores import DirectoryObjects, S3Objects  # noqa: PLC0415

    objects = settings.objects
    region = objects.region or settings.aws.region
    match objects.store:
        case "directory":
            return SealedObjects(DirectoryObjects(Layout(settings.data_dir).objects), keys)
        case "seaweedfs":
            beside = S3Objects(
                objects.endpoint, region, lambda: SEAWEEDFS_CREDENTIALS, path_style=True
            )
            return SealedObjects(beside, keys)
        case "s3":
            path_style = objects.addressing == "path" or (
                objects.addressing == "auto" and bool(objects.endpoint)
            )
            s3 = S3Objects(objects.endpoint, region, credentials_of(objects), path_style=path_style)
            return s3 if objects.encryption == "sse-kms" else SealedObjects(s3, keys)
