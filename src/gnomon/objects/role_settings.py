"""Checks [roles] before anything starts, so that what is wrong with it is a sentence."""

from __future__ import annotations

import re

from gnomon.errors import SettingsError
from gnomon.settings import RoleCredentials, RoleSettings

# SageMaker's pattern of a RoleArn.
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+")


def check(settings: RoleSettings) -> None:
    """Raises SettingsError for what cannot be meant; secrets are not shown."""
    if settings.strict and not settings.credentials:
        raise SettingsError(
            "roles.strict is true and roles.credentials names no role, so that none could be "
            "used: name those that there are."
        )
    if settings.credentials and not settings.strict:
        raise SettingsError(
            "roles.credentials is used with roles.strict only, and any role may use the stores "
            "without it: set roles.strict to true, or leave roles.credentials out."
        )
    for role_arn, credentials in settings.credentials.items():
        if _ROLE_ARN.fullmatch(role_arn) is None:
            raise SettingsError(
                f"roles.credentials names {role_arn!r}, which is no ARN of a role: "
                "arn:aws:iam::<account>:role/<name>."
            )
        _check_one(f'[roles.credentials."{role_arn}"]', credentials)


def _check_one(where: str, credentials: RoleCredentials) -> None:
    if bool(credentials.access_key_id) != bool(credentials.secret_access_key):
        raise SettingsError(
            f"{where} must have both access_key_id and secret_access_key, or neither."
        )
    if credentials.access_key_id and credentials.profile:
        raise SettingsError(f"{where} must have either access_key_id or profile, not both.")
    endpoint = credentials.sts_endpoint
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise SettingsError(
            f"{where} has the sts_endpoint {endpoint!r}, which must begin with http:// or https://."
        )
