"""What the role that a request names may use: an object store and a key service, as it sees them.

By default every role uses what the settings configure. With `roles.strict` each has credentials of
its own, and no other role is known. Where those come from is `credentials`' and `opening`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gnomon.errors import GnomonError
from gnomon.objects.keys import KeyService
from gnomon.objects.store import ObjectStore


class RoleUnusable(GnomonError):
    """A role that is not known, that cannot be assumed now, or that was not named."""

    def __init__(self, role_arn: str, reason: str) -> None:
        self.role_arn = role_arn
        self.reason = reason
        # The first sentence is SageMaker's.
        super().__init__(
            f"Could not assume role {role_arn}. Please ensure that the role exists and allows "
            f"principal 'sagemaker.amazonaws.com' to assume the role. ({reason})"
            if role_arn
            else f"No role is named: {reason}."
        )


@dataclass(frozen=True)
class Access:
    """A store and a key service with somebody's credentials.

    `role_arn` is whose they are, empty if they are Gnomon's own. `prove` asks for them, which may
    block for a network, and raises RoleUnusable; so does every use that they are missing for.
    """

    objects: ObjectStore
    keys: KeyService
    role_arn: str = ""
    prove: Callable[[], object] = lambda: None


class Roles:
    """By role ARN what each has; `others` is what any other role has, None if it has nothing."""

    def __init__(self, others: Access | None, known: Mapping[str, Access]) -> None:
        self._others = others
        self._known = known

    def access(self, role_arn: str) -> Access:
        """What a role may use; an empty ARN is that of who named none. Raises RoleUnusable."""
        found = self._known.get(role_arn, self._others)
        if found is not None:
            return found
        raise RoleUnusable(
            role_arn,
            "roles.credentials in Gnomon's settings does not name it"
            if role_arn
            else "with roles.strict in Gnomon's settings nothing is read or written without one",
        )
