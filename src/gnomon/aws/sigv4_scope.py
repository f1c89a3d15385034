"""The credential scope that a signed request carries: whose key, which day, region and service.

Reads it only; whether the signature is right is not looked at here. Without botocore, since the
router needs it as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# AWS4-HMAC-SHA256 Credential=<key>/<day>/<region>/<service>/aws4_request, SignedHeaders=…
# (docs.aws.amazon.com, IAM User Guide, "Elements of an AWS API request signature"). The region
# becomes part of ARNs, so that it may hold nothing that an ARN's region cannot.
_SCOPE = re.compile(
    r"AWS4-HMAC-SHA256\s+(?:.*[\s,])?"
    r"Credential=(?P<key>[^\s,]{1,128}?)/(?P<day>\d{8})/(?P<region>[a-z0-9-]{1,32})"
    r"/(?P<service>[a-z0-9-]{1,64})/aws4_request(?=[\s,]|$)",
    re.ASCII,
)


@dataclass(frozen=True)
class CredentialScope:
    """What the scope says; `day` is yyyymmdd in UTC."""

    access_key_id: str
    day: str
    region: str
    service: str


def parse_scope(authorization: str | None) -> CredentialScope | None:
    """The scope in an Authorization header; None where there is none or it is malformed."""
    found = _SCOPE.match(authorization or "")
    if found is None:
        return None
    return CredentialScope(found["key"], found["day"], found["region"], found["service"])
