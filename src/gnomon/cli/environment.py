"""The environment in which plain `aws` and boto3 reach this Gnomon, and nothing else."""

from __future__ import annotations

import shlex

from gnomon.cli.running import Running


def aws_environment(running: Running) -> dict[str, str]:
    """Variables for AWS's tools. Credentials are placeholders: Gnomon does not check them yet."""
    return {
        "AWS_ENDPOINT_URL_SAGEMAKER": running.url,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": running.url,
        "AWS_ACCESS_KEY_ID": "gnomon",
        "AWS_SECRET_ACCESS_KEY": "gnomon",
        "AWS_DEFAULT_REGION": running.region,
        "AWS_REGION": running.region,
    }


def shell_exports(variables: dict[str, str]) -> str:
    """Lines for `eval "$(gnomon env)"`. A session token of a real account would contradict the
    credentials, and so would a setting that has endpoint URLs ignored: both are unset.
    """
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join([*lines, "unset AWS_SESSION_TOKEN AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"])
