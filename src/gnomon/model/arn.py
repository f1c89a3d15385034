"""Amazon Resource Names of SageMaker's resources; names are lower-cased in them, as on AWS."""

from __future__ import annotations

from dataclasses import dataclass

MODEL = "model"
ENDPOINT_CONFIG = "endpoint-config"
ENDPOINT = "endpoint"
EXPERIMENT = "inference-experiment"


@dataclass(frozen=True)
class Account:
    """Whose resources they are: what an ARN says beside kind and name."""

    region: str
    account_id: str

    def arn(self, kind: str, name: str) -> str:
        return f"arn:aws:sagemaker:{self.region}:{self.account_id}:{kind}/{name.lower()}"
