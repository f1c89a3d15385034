"""The environment in which plain `aws` and boto3 reach this Gnomon, and nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from gnomon.cli.running import Running

# A real account's session token or profile would contradict the credentials, and a setting that has
# endpoint URLs ignored would send calls to AWS.
CONTRADICTING = (
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)
_LOOPBACK = "127.0.0.1,localhost,::1"


def aws_environment(running: Running) -> dict[str, str]:
    """Variables for AWS's tools. Credentials are placeholders: Gnomon does not check them yet."""
    store = {"AWS_ENDPOINT_URL_S3": running.s3_url} if running.s3_url else {}
    # Else what the user has set, or the system, verifies the certificate.
    verifying = {"AWS_CA_BUNDLE": running.ca_file} if running.ca_file else {}
    return {
        **store,
        "AWS_ENDPOINT_URL_SAGEMAKER": running.url,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": running.url,
        "AWS_ENDPOINT_URL_CLOUDWATCH": running.url,
        "AWS_ACCESS_KEY_ID": "gnomon",
        "AWS_SECRET_ACCESS_KEY": "gnomon",
        "AWS_DEFAULT_REGION": running.region,
        "AWS_REGION": running.region,
        **verifying,
    }


def shell_exports(variables: Mapping[str, str]) -> str:
    """Lines for `eval "$(gnomon env)"`, which also keep a proxy out of the way."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    proxy = f'export NO_PROXY="${{NO_PROXY:+$NO_PROXY,}}{_LOOPBACK}"'
    return "\n".join([*lines, proxy, f"unset {' '.join(CONTRADICTING)}"])


def process_environment(environ: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """The same for a process that is started with it."""
    kept = {name: value for name, value in environ.items() if name not in CONTRADICTING}
    proxies = [environ["NO_PROXY"]] if environ.get("NO_PROXY") else []
    return {**kept, **variables, "NO_PROXY": ",".join([*proxies, _LOOPBACK])}
