"""Figures that Prometheus's own parser reads, and log lines."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families
from remote.fake_hub import OFFER, serving

from stream.remote.server.http.monitoring import LineFormatter


def values(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_by_stage_and_session() -> None:
    async def run() -> None:
        async with serving() as (server, hub, client):
            await hub.publish(OFFER, "ada")
            await hub.publish(OFFER, "bob")
            server.watch.metrics.lag(25.0)
            async with client.get("/metrics") as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                read = values(await answer.text())
        for session in ("ada", "bob"):
            face = (("session", session), ("stage", "face"))
            send = (("session", session), ("stage", "send"))
            assert read["prosopon_frames_total", face] == 1
            assert read["prosopon_dropped_total", send] == 3
            assert read["prosopon_stage_seconds_bucket", (("le", "0.002"), *face)] == 1
            assert read["prosopon_viewers", (("session", session),)] == 2
        assert read["prosopon_sessions", ()] == 2
        assert read["prosopon_loop_lag_seconds", ()] == pytest.approx(25.0)

    asyncio.run(run())


def test_sessions_and_configuration_are_json() -> None:
    async def run() -> None:
        ice = {"turn": ("turn:turn.example:3478",), "turn_secret": "hush"}
        async with serving(publish_token="camera", view_token="eyes", ice=ice) as (_, hub, client):
            await hub.publish(OFFER, "ada")
            for token, publishes in (("camera", True), ("eyes", False)):
                headers = {"Authorization": f"Bearer {token}"}
                async with client.get("/sessions", headers=headers) as answer:
                    assert [session["name"] for session in (await answer.json())["sessions"]] == ["ada"]
                async with client.get("/config", headers=headers) as answer:
                    config = await answer.json()
                    assert (config["protocol"], config["publish"]) == (1, publishes)
                    assert config["ice_servers"][0]["urls"] in (
                        "turn:turn.example:3478",
                        ["turn:turn.example:3478"],
                    )
                    assert config["ice_servers"][0]["username"].endswith(":prosopon")
                    assert "hush" not in json.dumps(config)

    asyncio.run(run())


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "stream.remote", "levelno": 20, "levelname": "INFO", "msg": message}
    )
    vars(made).update(fields)
    return made


def test_a_json_line_is_one_object_with_its_fields() -> None:
    line = LineFormatter(as_json=True).format(record("request", status=201, session="ada\n", path=None))
    assert "\n" not in line
    read = json.loads(line)
    assert read.pop("time").endswith("+00:00")
    assert read == {
        "level": "info", "logger": "stream.remote", "message": "request", "status": 201, "session": "ada\n",
        "path": None,
    }  # fmt: skip


def test_a_text_line_cannot_be_forged() -> None:
    line = LineFormatter(as_json=False).format(
        record("request", status=404, path="/a\n2026 info ready", ms=None)
    )
    assert "\n" not in line
    assert line.endswith(" info request (status=404 path=/a\\n2026 info ready)")


def test_a_failure_shows_its_traceback() -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        failed = record("A request failed.")
        failed.exc_info = (type(error), error, error.__traceback__)
    assert "ValueError: broken" in LineFormatter(as_json=False).format(failed)
    assert "ValueError: broken" in json.loads(LineFormatter(as_json=True).format(failed))["traceback"]
