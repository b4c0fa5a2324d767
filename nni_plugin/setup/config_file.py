"""An experiment's config and the search space that it names, read from their files."""

from __future__ import annotations

from pathlib import Path

import yaml

from nni_plugin.protocol import dispatcher
from nni_plugin.protocol.json_types import Settings
from nni_plugin.protocol.suggestions import file_near
from nni_plugin.setup import first_format

_CONFIGS = (".yml", ".yaml")


def read_config(path: Path) -> Settings | str:
    """The settings, or what is wrong with the file."""
    try:
        config = yaml.safe_load(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return f"{path}: no such file{file_near(path, _CONFIGS)}"
    except IsADirectoryError:
        return f"{path}: a folder, not an experiment's YAML file{file_near(path, _CONFIGS)}"
    # PyYAML raises what its constructors do, an AttributeError at a bad date for one.
    except Exception as error:
        return f"{path}: not readable as YAML: {error}"
    if not isinstance(config, dict):
        return f"{path}: holds {type(config).__name__}, not an experiment's settings"
    old = first_format.told(config)
    return config if old is None else f"{path}: {old}"


def genes_of_config(config: Settings, folder: Path) -> Settings:
    """The NNI search space of a config, from its file if it names one.

    Args:
        config: NNI's settings.
        folder: of the config's file.

    Raises:
        ValueError: there is no such file, or it is no YAML or JSON.
        OSError: it can't be read.
    """
    space: Settings | None = config.get("searchSpace")
    if space is not None:
        return space
    file = dispatcher.find_file(str(config.get("searchSpaceFile")), [folder], "the file")
    try:
        found: Settings = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{file}: {error}") from error
    return found
