"""AWS KMS, or what speaks like it, as a key service. botocore is its client; no other is needed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from gnomon.objects.keys import DataKey, KeyServiceFailed, KeyUnusable

# A request for a key is a small one; who waits for it is somebody's create.
_TIME_LIMITS = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 3})

_REASONS = {
    "NotFoundException": "it does not exist",
    "DisabledException": "it is disabled",
    "KMSInvalidStateException": "its state does not allow it",
    "InvalidKeyUsageException": "it is no key for symmetric encryption",
    "AccessDeniedException": "access is denied",
    "InvalidArnException": "its ARN is not valid",
    "InvalidCiphertextException": "the data key was made for another object, or changed",
    "IncorrectKeyException": "the data key was made under another key",
}


class AwsKeys:
    """A `KeyService` by KMS's API, with a session's credentials; `endpoint` is empty for AWS's.

    Its client takes 100 ms to make, and there may be a service for each role: it is made when it is
    first needed.
    """

    def __init__(self, region: str, endpoint: str, whose: Session) -> None:
        self._make = partial(
            whose.create_client,
            "kms",
            region_name=region,
            endpoint_url=endpoint or None,
            config=_TIME_LIMITS,
        )
        self._client: Any = None
        self._making = threading.Lock()

    def data_key(self, key: str, context: Mapping[str, str]) -> DataKey:
        answer = self._call("generate_data_key", key, context, KeyId=key, KeySpec="AES_256")
        return DataKey(answer["Plaintext"], answer["CiphertextBlob"])

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        answer = self._call("decrypt", "of the object", context, CiphertextBlob=wrapped)
        return bytes(answer["Plaintext"])

    def _call(self, method: str, key: str, context: Mapping[str, str], **params: Any) -> Any:
        try:
            with self._making:
                self._client = self._client or self._make()
            return getattr(self._client, method)(EncryptionContext=dict(context), **params)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            text = error.response["Error"].get("Message", "").rstrip(".")
            if code in _REASONS:
                raise KeyUnusable(key, f"{_REASONS[code]} ({text or code})") from error
            raise KeyServiceFailed(f"{code}: {text}") from error
        # An endpoint that is no URL is a ValueError.
        except (BotoCoreError, ValueError) as error:
            raise KeyServiceFailed(str(error).rstrip(".")) from error
