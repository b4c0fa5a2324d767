"""``joint-ga mcp``, as an agent's own client meets it: a process, its stdin and its stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from nni_plugin.cli import agent_server
from support.journals import plain_search, searched

pytest.importorskip("mcp", reason="mcp is not installed (pip install -e .[mcp])")


def with_client(folder: Path, use: Callable[[Any], Awaitable[None]]) -> None:
    """Starts the server as an agent would, and gives its client."""
    import anyio
    from mcp.client.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    words = ["-m", "nni_plugin.cli", "mcp", "--dir", str(folder)]
    path = [*map(str, sys.path)]
    parameters = StdioServerParameters(
        command=sys.executable, args=words, env={"PYTHONPATH": ":".join(filter(None, path))}
    )

    async def main() -> None:
        async with Client(stdio_client(parameters)) as client:
            await use(client)

    anyio.run(main)


def content(result: Any) -> Any:
    """What a tool has returned, from its structured content."""
    assert not result.is_error, result.content
    found = result.structured_content
    return found["result"] if set(found) == {"result"} else found


def test_an_agent_lists_looks_picks_and_is_told_what_is_wrong(write, tmp_path) -> None:
    write(searched(40, 4), "first")
    write(plain_search(12), "second")

    async def use(client: Any) -> None:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["experiments", "front", "pick", "trial", "export"]
        assert all(tool.description for tool in tools)
        listed = content(await client.call_tool("experiments", {}))
        assert [each["experiment"] for each in listed] == ["first", "second"]
        assert [each["complete"] for each in listed] == [40, 12]
        front = content(await client.call_tool("front", {"experiment": "first"}))
        assert front["objectives"] == {"accuracy": "maximize", "size_kb": "minimize"}
        assert sum("knee" in row["names"] for row in front["front"]) == 1
        sentence = {"experiment": "first", "sentence": "accuracy >= 0.7, min size_kb"}
        picked = content(await client.call_tool("pick", sentence))
        fits = [row for row in front["front"] if row["metrics"]["accuracy"] >= 0.7]
        assert picked["metrics"]["size_kb"] <= min(row["metrics"]["size_kb"] for row in fits)
        one = {"experiment": "first", "uid": picked["uid"]}
        assert content(await client.call_tool("trial", one))["params"] == picked["params"]
        for tool, arguments, said in (
            ("front", {"experiment": "nope"}, "no experiment 'nope'"),
            ("pick", {**sentence, "sentence": "min sise_kb"}, "size_kb"),
            ("export", {**one, "output": str(tmp_path / "out")}, "nni.sqlite is missing"),
        ):
            result = await client.call_tool(tool, arguments)
            assert result.is_error
            assert said in json.dumps([part.text for part in result.content])
        assert not (tmp_path / "out").exists()

    with_client(tmp_path, use)


def test_without_the_package_its_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    with pytest.raises(ImportError, match=r"nni-joint-ga\[mcp\]"):
        agent_server.server()
