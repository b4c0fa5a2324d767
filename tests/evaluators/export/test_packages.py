"""The folder `c/` against the published rules of Arduino, PlatformIO, Zephyr and ESP-IDF.

None of the four is installed here. CMake builds the files of Zephyr and ESP-IDF with stand-ins for
the functions of theirs that these call.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from evaluators.export import fold, lower
from evaluators.export.c_code import check_prefix, write_c
from evaluators.export.packed import pack

SEMVER = r"\d+\.\d+\.\d+"


@pytest.fixture
def folder(network, describe, tmp_path) -> Path:
    net = network("Dense", lambda i: (8, 8))
    folded = fold(net.model, net.calibration, net.x[:2])
    integer = lower(folded, net.x[:2], [net.x])
    modules = pack(folded, describe(net.float_model, net.x, net.calibration), integer)
    target = tmp_path / "wake_word"
    write_c(integer, modules, target, 'a "test": it\'s', example=net.x.numpy(), prefix="wake_word")
    return target


def test_arduino_takes_the_folder(folder):
    """Arduino's library specification 2.2, and arduino-lint's schema of library.properties."""
    lines = (folder / "library.properties").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    required = ("name", "version", "author", "maintainer", "sentence", "paragraph", "category",
                "url", "architectures")  # fmt: skip
    assert all(fields[name] for name in required)
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9 _.\-]{0,62}", fields["name"])
    assert re.fullmatch(SEMVER, fields["version"])
    assert fields["category"] == "Data Processing"
    assert fields["url"].startswith("https://")
    # Without a folder src, the sources are those in the root.
    assert not (folder / "src").exists()
    assert {f.name for f in folder.glob("*.c")} == {"wake_word.c", "wake_word_selftest.c"}
    assert (folder / fields["includes"]).is_file()
    (sketch,) = folder.glob("examples/*/*.ino")
    assert sketch.stem == sketch.parent.name


CORE = """#pragma once
#include <stdio.h>
inline unsigned long millis() { return 0; }
inline unsigned long micros() { return 0; }
struct Port {
  void begin(long) {}
  explicit operator bool() const { return true; }
  void print(const char *text) { fputs(text, stdout); }
  void println(const char *text) { puts(text); }
  void println(unsigned long number) { printf("%lu\\n", number); }
};
static Port Serial;
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="no host g++")
def test_the_sketch_is_c_plus_plus_and_passes_its_test(folder, tmp_path):
    (tmp_path / "Arduino.h").write_text(CORE)
    (sketch,) = folder.glob("examples/*/*.ino")
    text = f'#include "Arduino.h"\n{sketch.read_text()}\nint main() {{ setup(); }}\n'
    (tmp_path / "main.cpp").write_text(text)
    made = []
    for source in ("wake_word.c", "wake_word_selftest.c"):
        made.append(tmp_path / f"{source}.o")
        subprocess.run(["gcc", "-c", folder / source, "-o", made[-1]], check=True)
    include = [f"-I{folder}", f"-I{tmp_path}"]
    subprocess.run(
        ["g++", "-Wall", *include, tmp_path / "main.cpp", *made, "-o", tmp_path / "run"], check=True
    )
    done = subprocess.run([tmp_path / "run"], capture_output=True, text=True, check=True)
    assert "the test vector is right" in done.stdout


def test_platformio_takes_the_folder(folder):
    """PlatformIO's schema of library.json (platformio/assets/schema/library.json)."""
    manifest = json.loads((folder / "library.json").read_text())
    assert set(manifest) <= {
        "name", "version", "description", "keywords", "headers", "frameworks", "platforms", "build",
    }  # fmt: skip
    assert re.fullmatch(r"[^/;@<>:\"'|?*\\]{1,100}", manifest["name"])
    assert re.fullmatch(SEMVER, manifest["version"])
    assert len(manifest["description"]) <= 1000
    assert all(re.fullmatch(r"[a-z\d\- ]{1,50}", word) for word in manifest["keywords"])
    assert (manifest["frameworks"], manifest["platforms"]) == ("*", "*")
    assert (folder / manifest["headers"]).is_file()
    build = manifest["build"]
    assert set(build) == {"srcFilter", "includeDir", "srcDir"}
    assert all((folder / entry[2:-1]).is_file() for entry in build["srcFilter"])


PROJECT = """cmake_minimum_required(VERSION 3.20)
project(app C)
{functions}
add_subdirectory({folder} module)
add_executable(app main.c)
target_link_libraries(app PRIVATE {library})
"""

MAIN = '#include "wake_word.h"\nint main(void) { return wake_word_selftest(); }\n'


def build(tmp_path: Path, functions: str, folder: Path, library: str, *options: str) -> Path:
    app = tmp_path / "app"
    app.mkdir()
    text = PROJECT.format(functions=functions, folder=folder.as_posix(), library=library)
    (app / "CMakeLists.txt").write_text(text)
    (app / "main.c").write_text(MAIN)
    subprocess.run(["cmake", "-S", app, "-B", app / "build", *options], check=True)
    subprocess.run(["cmake", "--build", app / "build"], check=True)
    return app / "build" / "app"


ZEPHYR = """
macro(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY ${name})
  add_library(${name} STATIC)
endmacro()
macro(zephyr_library_sources)
  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endmacro()
macro(zephyr_include_directories)
  target_include_directories(${ZEPHYR_CURRENT_LIBRARY} PUBLIC ${ARGN})
endmacro()
set(CONFIG_JOINT_GA_WAKE_WORD y)
"""


def test_zephyr_knows_the_module(folder):
    """The schema in Zephyr's scripts/zephyr_module.py, and the files that it looks for."""
    meta = yaml.safe_load((folder / "zephyr/module.yml").read_text())
    assert set(meta) == {"name", "build"}
    assert meta["name"] == "wake_word"
    assert set(meta["build"]) == {"cmake", "kconfig"}
    assert (folder / meta["build"]["cmake"] / "CMakeLists.txt").is_file()
    kconfig = (folder / meta["build"]["kconfig"]).read_text()
    symbols = re.findall(r"^config (\w+)$", kconfig, re.MULTILINE)
    assert symbols == ["JOINT_GA_WAKE_WORD", "JOINT_GA_WAKE_WORD_TIMED"]
    cmake = (folder / "zephyr/CMakeLists.txt").read_text()
    assert set(re.findall(r"CONFIG_(\w+)", cmake)) == set(symbols)
    # A prompt is a quoted text in one line; a help text is indented deeper than its keyword.
    prompts = [line for line in kconfig.splitlines() if line.startswith("\tbool")]
    assert all(line.count('"') == 2 for line in prompts)
    assert re.search(r"^\thelp\n\t  \S", kconfig, re.MULTILINE)


@pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake")
def test_the_zephyr_module_builds_what_it_names(folder, tmp_path):
    app = build(tmp_path, ZEPHYR, folder / "zephyr", "wake_word")
    assert subprocess.run([app], check=False).returncode == 0


IDF = """
set(ESP_PLATFORM 1)
function(idf_component_register)
  cmake_parse_arguments(given "" "" "SRCS;INCLUDE_DIRS" ${ARGN})
  if(given_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "idf_component_register: ${given_UNPARSED_ARGUMENTS}")
  endif()
  add_library(component STATIC ${given_SRCS})
  target_include_directories(component PUBLIC ${given_INCLUDE_DIRS})
endfunction()
"""


@pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake")
def test_esp_idf_builds_the_component(folder, tmp_path):
    app = build(tmp_path, IDF, folder, "component")
    assert subprocess.run([app], check=False).returncode == 0


def test_esp_idf_takes_the_manifest(folder):
    """Espressif's idf_component.yml manifest format reference."""
    manifest = yaml.safe_load((folder / "idf_component.yml").read_text())
    assert set(manifest) == {"version", "description", "dependencies"}
    assert re.fullmatch(SEMVER, manifest["version"])
    assert manifest["description"] == "a 'test': it's"
    assert manifest["dependencies"] == {"idf": ">=4.4"}


def test_a_prefix_longer_than_arduino_allows_is_refused():
    check_prefix("a" * 63)
    with pytest.raises(ValueError, match="at most 63"):
        check_prefix("a" * 64)
