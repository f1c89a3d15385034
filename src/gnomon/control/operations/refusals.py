"""Members that would mislead if they were ignored: they are refused, by name."""

from __future__ import annotations

from gnomon.control.call import Params
from gnomon.errors import ValidationFailed


def refuse(params: Params, where: str, reasons: dict[str, str]) -> None:
    """Raises ValidationFailed for the first member of `reasons` that is there."""
    for member, reason in reasons.items():
        if params.get(member):
            raise ValidationFailed(f"{where}{member} is not supported: {reason}")


KEYS_LATER = "Gnomon does not encrypt with KMS keys yet. Leave the member out."
UNSUPPORTED_FEATURES = "One or more endpoint features are not supported using this configuration."
