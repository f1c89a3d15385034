"""Opens the object store and the key service that the settings name.

Every process opens its own. `check` is for whoever starts them: it says what would keep them from
it, and opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gnomon.errors import SettingsError
from gnomon.model.arn import Account
from gnomon.model.layout import Layout
from gnomon.objects import role_settings
from gnomon.objects.credentials import credentials_of, of_role, role_session, session
from gnomon.objects.keys import KeyService
from gnomon.objects.local_keys import LocalKeys
from gnomon.objects.roles import Access, Roles
from gnomon.objects.sealed import SealedObjects
from gnomon.objects.store import Credentials, ObjectStore
from gnomon.settings import RoleCredentials, Settings

if TYPE_CHECKING:
    from botocore.session import Session

# SeaweedFS is asked with what `gnomon env` gives everybody.
SEAWEEDFS_CREDENTIALS = Credentials("gnomon", "gnomon")


def check(settings: Settings) -> None:
    """Raises SettingsError for a store or a key service that cannot be opened, and for roles that
    cannot be.
    """
    role_settings.check(settings.roles)
    if settings.objects.store == "s3":
        _check_endpoint("objects.endpoint", settings.objects.endpoint)
        if not settings.roles.strict:
            credentials_of(settings.objects)
    if settings.keys.service == "aws":
        _check_endpoint("keys.endpoint", settings.keys.endpoint)
        session("keys.profile", settings.keys.profile)
    if _have_credentials(settings):
        for role_arn, credentials in settings.roles.credentials.items():
            role_session(role_arn, credentials, _region(settings))


def _check_endpoint(setting: str, endpoint: str) -> None:
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise SettingsError(f"{setting} is {endpoint!r} and must begin with http:// or https://.")


def open_keys(settings: Settings) -> KeyService:
    """With Gnomon's own credentials. Raises SettingsError."""
    if settings.keys.service == "aws":
        return _aws_keys(settings, session("keys.profile", settings.keys.profile))
    return open_local_keys(settings)


def open_local_keys(settings: Settings) -> LocalKeys:
    account = Account(settings.aws.region, settings.aws.account_id)
    return LocalKeys(Layout(settings.data_dir).keys_file, account)


def open_objects(settings: Settings, keys: KeyService) -> ObjectStore:
    """The store with Gnomon's own credentials, and with encryption, its own or Gnomon's. Raises
    SettingsError, or OSError for a directory that cannot be used.
    """
    if settings.objects.store == "s3":
        return _open_s3(settings, keys, credentials_of(settings.objects))
    # obstore takes a while to import.
    from gnomon.objects.stores import DirectoryObjects, S3Objects  # noqa: PLC0415

    if settings.objects.store == "directory":
        return SealedObjects(DirectoryObjects(Layout(settings.data_dir).objects), keys)
    beside = S3Objects(
        settings.objects.endpoint,
        _region(settings),
        lambda: SEAWEEDFS_CREDENTIALS,
        path_style=True,
    )
    return SealedObjects(beside, keys)


def open_roles(settings: Settings, keys: KeyService) -> Roles:
    """What each role may use; `keys` are Gnomon's own. Raises as `open_objects` does."""
    if not settings.roles.strict:
        return Roles(Access(open_objects(settings, keys), keys), {})
    return Roles(
        None,
        {
            role_arn: _open_role(settings, role_arn, credentials, keys)
            for role_arn, credentials in settings.roles.credentials.items()
        },
    )


def _open_role(
    settings: Settings, role_arn: str, credentials: RoleCredentials, keys: KeyService
) -> Access:
    if not _have_credentials(settings):
        return Access(open_objects(settings, keys), keys, role_arn)
    role = role_session(role_arn, credentials, _region(settings))
    ask = of_role(role_arn, role)
    if settings.keys.service == "aws":
        keys = _aws_keys(settings, role)
    objects = (
        _open_s3(settings, keys, ask)
        if settings.objects.store == "s3"
        else open_objects(settings, keys)
    )
    return Access(objects, keys, role_arn, ask)


def _have_credentials(settings: Settings) -> bool:
    """Whether anything here asks who asks: a directory, SeaweedFS and local keys do not."""
    return settings.objects.store == "s3" or settings.keys.service == "aws"


def _open_s3(
    settings: Settings, keys: KeyService, credentials: Callable[[], Credentials]
) -> ObjectStore:
    from gnomon.objects.stores import S3Objects  # noqa: PLC0415

    objects = settings.objects
    path_style = objects.addressing == "path" or (
        objects.addressing == "auto" and bool(objects.endpoint)
    )
    s3 = S3Objects(objects.endpoint, _region(settings), credentials, path_style=path_style)
    return s3 if objects.encryption == "sse-kms" else SealedObjects(s3, keys)


def _aws_keys(settings: Settings, whose: Session) -> KeyService:
    # botocore is slow to import, and most have local keys.
    from gnomon.objects.aws_keys import AwsKeys  # noqa: PLC0415

    return AwsKeys(settings.aws.region, settings.keys.endpoint, whose)


def _region(settings: Settings) -> str:
    return settings.objects.region or settings.aws.region
