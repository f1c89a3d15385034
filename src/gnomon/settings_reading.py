"""Reads settings once, for the entry points, and hands them from a supervisor to its processes.

Sources, strongest first: command-line options, `GNOMON_<SECTION>_<NAME>` in the environment,
`gnomon.toml` (in the data directory, or named by GNOMON_CONFIG), the defaults in `gnomon.settings`.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from gnomon.errors import SettingsError
from gnomon.settings import Settings


def load(
    data_dir: Path,
    environ: Mapping[str, str],
    overrides: Mapping[str, Mapping[str, object]] | None = None,
) -> Settings:
    """Settings of the Gnomon in `data_dir`.

    `overrides` is what the command line said: section to name to value. Raises SettingsError for a
    name that does not exist or a value that it cannot have, naming where it stands. No number may
    be below 0.
    """
    data_dir = data_dir.resolve()
    named = environ.get("GNOMON_CONFIG")
    path = Path(named) if named else data_dir / "gnomon.toml"
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        if named:
            raise SettingsError(f"GNOMON_CONFIG names {path}, which does not exist.") from None
        document = {}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.") from error
    sections = {f.name: f for f in fields(Settings) if f.name != "data_dir"}
    for section in document:
        if section not in sections:
            raise SettingsError(
                f"{path} has a section [{section}] that Gnomon does not know; it knows "
                f"{', '.join(sections)}."
            )
    _refuse_unknown_variables(environ)
    given: dict[str, object] = {}
    for name, section_field in sections.items():
        cls = _class_of(section_field)
        values = _check_section(cls, name, document.get(name, {}), str(path))
        _read_tables(cls, name, values, str(path))
        given_here = (overrides or {}).get(name, {})
        for item in fields(cls):
            hint = _hints(cls)[item.name]
            variable = f"GNOMON_{name}_{item.name}".upper()
            if variable in environ and not (_is_mapping(hint) or _is_list(hint)):
                values[item.name] = _from_text(item, hint, environ[variable], variable)
            if item.name in given_here:
                option = f"--{item.name.replace('_', '-')}"
                values[item.name] = _check(item, hint, given_here[item.name], option)
        given[name] = cls(**values)
    return Settings(data_dir=data_dir, **given)  # type: ignore[arg-type]


def encode(settings: Settings) -> str:
    """Settings as text that `decode` reads back: how a supervisor hands them to its processes."""
    import json  # noqa: PLC0415 - only the supervisor and its children need it

    return json.dumps(dataclasses.asdict(settings), default=str)


def decode(text: str) -> Settings:
    """Settings from the text that `encode` made."""
    import msgspec  # noqa: PLC0415

    raw = msgspec.json.decode(text)
    given = {
        f.name: msgspec.convert(raw[f.name], _class_of(f))
        for f in fields(Settings)
        if f.name != "data_dir"
    }
    return Settings(data_dir=Path(raw["data_dir"]), **given)


def _class_of(section: dataclasses.Field[Any]) -> type[Any]:
    return type(section.default)


def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, vars(sys.modules[cls.__module__]))


def _is_mapping(hint: Any) -> bool:
    return typing.get_origin(hint) is Mapping or isinstance(hint, types.GenericAlias)


def _is_list(hint: Any) -> bool:
    return typing.get_origin(hint) is tuple


def _check_section(
    cls: type, section: str, values: Mapping[str, object], where: str
) -> dict[str, Any]:
    hints = _hints(cls)
    if not isinstance(values, dict):
        raise SettingsError(f"{where}: [{section}] must be a table.")
    known = {item.name: item for item in fields(cls)}
    for name, value in values.items():
        if name not in known:
            raise SettingsError(
                f"{where}: [{section}] has no setting {name!r}; it has {', '.join(hints)}."
            )
        _check(known[name], hints[name], value, f"{where}: {section}.{name}")
    # TOML's lists are of texts here.
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def _check(item: dataclasses.Field[Any], hint: Any, value: object, where: str) -> object:
    """The value, if the setting can have it; `where` is what it is called there."""
    if typing.get_origin(hint) is Literal:
        is_fit = value in typing.get_args(hint)
    elif hint == Mapping[str, int]:
        is_fit = isinstance(value, dict) and all(
            type(number) is int and number >= 0 for number in value.values()
        )
    elif _is_list(hint):
        is_fit = isinstance(value, list) and all(isinstance(text, str) for text in value)
    elif _is_mapping(hint):
        is_fit = isinstance(value, dict)
    elif hint in (str, bool):
        is_fit = isinstance(value, hint)
    else:
        kinds = (int, float) if hint is float else (int,)
        is_fit = (
            isinstance(value, kinds)
            and not isinstance(value, bool)
            and 0 <= value <= item.metadata.get("most", math.inf)
        )
    if not is_fit:
        given = "" if item.metadata.get("is_secret") else f"is {value!r} and "
        raise SettingsError(f"{where} {given}must be {_said(item, hint)}.")
    return value


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    for section in fields(Settings):
        if section.name == "data_dir":
            continue
        prefix = f"GNOMON_{section.name}_".upper()
        known = {f"{prefix}{item.name}".upper() for item in fields(_class_of(section))}
        for variable in environ:
            if variable.startswith(prefix) and variable not in known:
                raise SettingsError(
                    f"{variable} names no setting; those of [{section.name}] are "
                    f"{', '.join(sorted(known))}."
                )


def _from_text(item: dataclasses.Field[Any], hint: Any, text: str, variable: str) -> object:
    value: object = text
    if hint in (int, float):
        try:
            value = hint(text)
        except ValueError:
            # Left as text, which is refused in the words that a wrong number is refused in.
            value = text
    elif hint is bool:
        value = {"true": True, "false": False}.get(text, text)
    return _check(item, hint, value, variable)


def _said(item: dataclasses.Field[Any], hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(typing.get_args(hint))}"
    if hint == Mapping[str, int]:
        return "a table of whole numbers of 0 or more"
    if hint is bool:
        return "true or false"
    if _is_list(hint):
        return "a list of texts"
    if hint not in (int, float):
        return "text" if hint is str else "a table of texts"
    kind = "a whole number" if hint is int else "a number"
    most = item.metadata.get("most")
    return f"{kind} of 0 or more" if most is None else f"{kind} from 0 to {most}"


def _read_tables(cls: type, section: str, values: dict[str, Any], where: str) -> None:
    """Replace tables of tables in a section's values by what those stand for."""
    for name, hint in _hints(cls).items():
        of = typing.get_args(hint)[-1] if typing.get_args(hint) else None
        if name in values and isinstance(of, type) and dataclasses.is_dataclass(of):
            values[name] = {
                key: _read_table(of, f'{section}.{name}."{key}"', table, where)
                for key, table in values[name].items()
            }


def _read_table(cls: type, section: str, table: object, where: str) -> object:
    if not isinstance(table, dict):
        raise SettingsError(f"{where}: [{section}] must be a table.")
    values = _check_section(cls, section, table, where)
    for name, value in values.items():
        if isinstance(value, dict) and not all(isinstance(text, str) for text in value.values()):
            # Not shown: there may be a secret among them.
            raise SettingsError(f"{where}: {section}.{name} must be a table of texts.")
    return cls(**values)
