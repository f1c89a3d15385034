"""Credentials as AWS has them, found as every AWS tool finds them, by botocore's sessions.

botocore is imported when it is needed: a store in a directory needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from gnomon.errors import SettingsError
from gnomon.objects.roles import RoleUnusable
from gnomon.objects.store import Credentials, CredentialsUnavailable
from gnomon.settings import ObjectsSettings, RoleCredentials

if TYPE_CHECKING:
    from botocore.session import Session

# What an STS has under CloudTrail's `userIdentity`, or its like.
_SESSION_NAME = "gnomon"


def credentials_of(settings: ObjectsSettings) -> Callable[[], Credentials]:
    """What to ask for the credentials of the moment: those of the settings, else of the profile,
    else of the environment, AWS's files or the machine. Raises SettingsError if there are none.
    """
    if settings.access_key_id:
        fixed = Credentials(settings.access_key_id, settings.secret_access_key)
        return lambda: fixed
    return of_session(
        session("objects.profile", settings.profile),
        "the S3 store: set objects.access_key_id and objects.secret_access_key, objects.profile",
    )


def session(setting: str, profile: str) -> Session:
    """A session with a profile of AWS's files, or as AWS's tools have it. Raises SettingsError,
    which names the setting that the profile is from.
    """
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    from botocore.session import Session  # noqa: PLC0415

    made = Session(profile=profile or None)
    try:
        made.get_credentials()
    except BotoCoreError as error:
        raise SettingsError(f"{setting} cannot be used: {error}.") from error
    return made


def of_session(found_by: Session, what: str) -> Callable[[], Credentials]:
    """What to ask for a session's credentials of the moment; it raises CredentialsUnavailable.
    Raises SettingsError if it has none; `what` says what they are for, and how to set them.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    found = found_by.get_credentials()
    if found is None:
        raise SettingsError(
            f"There are no credentials for {what}, or AWS_ACCESS_KEY_ID and its like."
        )

    def now() -> Credentials:
        # Renewed by botocore where they do not last.
        try:
            frozen = found.get_frozen_credentials()
        except ClientError as error:
            raise CredentialsUnavailable(_said(error.response)) from error
        # What an STS gives may have ended already: then it is a RuntimeError.
        except (BotoCoreError, RuntimeError) as error:
            raise CredentialsUnavailable(str(error).rstrip(".")) from error
        return Credentials(frozen.access_key or "", frozen.secret_key or "", frozen.token or "")

    return now


def role_session(role_arn: str, settings: RoleCredentials, region: str) -> Session:
    """A session that has a role's credentials. STS is asked when they are first needed, and again
    before they end. Raises SettingsError.
    """
    where = f'roles.credentials."{role_arn}"'
    if settings.access_key_id:
        from botocore.session import Session  # noqa: PLC0415

        asks = Session()
        asks.set_credentials(settings.access_key_id, settings.secret_access_key)
    else:
        asks = session(f"{where}.profile", settings.profile)
        of_session(asks, f"[{where}]: set access_key_id and secret_access_key, profile")
    if settings.sts_endpoint:
        return _assuming(asks, role_arn, settings.sts_endpoint, region)
    return asks


def of_role(role_arn: str, role: Session) -> Callable[[], Credentials]:
    """What to ask for a role's credentials of the moment; it raises RoleUnusable."""
    ask = of_session(role, role_arn)

    def now() -> Credentials:
        try:
            return ask()
        except CredentialsUnavailable as error:
            raise RoleUnusable(role_arn, str(error)) from error

    return now


def _said(response: Mapping[str, Any]) -> str:
    """An STS's own words. One that is part of an S3 store may say them as S3 does, without Error
    around them.
    """
    said = response.get("Error", response)
    code = said.get("Code", response["ResponseMetadata"].get("HTTPStatusCode"))
    return f"{code}: {said.get('Message', '')}".rstrip(": .")


def _assuming(asks: Session, role_arn: str, endpoint: str, region: str) -> Session:
    from botocore.config import Config  # noqa: PLC0415
    from botocore.credentials import (  # noqa: PLC0415
        AssumeRoleCredentialFetcher,
        DeferredRefreshableCredentials,
    )
    from botocore.session import Session  # noqa: PLC0415

    client = partial(
        asks.create_client,
        region_name=region,
        endpoint_url=endpoint,
        # Who waits for a role is somebody's create.
        config=Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 2}),
    )
    fetcher = AssumeRoleCredentialFetcher(
        client,
        asks.get_credentials(),
        role_arn,
        extra_args={"RoleSessionName": _SESSION_NAME},
    )
    assumed = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
    role = Session()
    role.register_component("credential_provider", _Found(assumed))
    return role


class _Found:
    """Where a session looks for its credentials, which are there."""

    def __init__(self, found: Any) -> None:
        self._found = found

    def load_credentials(self) -> Any:
        return self._found
