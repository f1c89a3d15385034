"""How an error names a member of a request: SageMaker's own spelling of the place.

Names begin in lower case and list items count from 1: `productionVariants.1.member.instanceType`.
"""


def member_path(path: str, name: str) -> str:
    """The path of the member `name` of the structure at `path`; '' is the request itself."""
    lowered = name[:1].lower() + name[1:]
    return f"{path}.{lowered}" if path else lowered


def item_path(path: str, index: int) -> str:
    """The path of the list item at the 0-based `index`."""
    return f"{path}.{index + 1}.member"


def entry_path(path: str, key: str) -> str:
    """The path of the map value under `key`."""
    return f"{path}.{key}.member"
