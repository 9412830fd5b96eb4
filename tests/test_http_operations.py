"""Operations over HTTP: series with unit and help, delete, describe, export, import, backup, and who may ask."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.engines import NOW, feed
from tests.serving import Serving, server_of
from tests.test_operations import events

from hms_ops import Engine
from hms_ops.clock import ManualClock
from hms_ops.http.ingest import UNPACKED_BYTES_MAX
from hms_ops.http.operations import IMPORT_BYTES_MAX
from hms_ops.storage.csvrows import HEADER

OLD = NOW - NOW % 3600 - 10 * 3600
ROW = f"old,zone=a,gauge,10s,{OLD},2,3,0,1,2,2\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Serving]:
    clock = ManualClock(NOW * 10**9)
    with Engine(udp=None, http="127.0.0.1:0", data_dir=tmp_path / "data", clock=clock) as engine:
        assert engine.http_address is not None
        assert engine.account.server is not None
        host, port = engine.http_address
        with httpx.Client(base_url=f"http://{host}:{port}", trust_env=False) as client:
            yield Serving(engine, (host, port), client, engine.account.server)


def names(answer: httpx.Response) -> list[str]:
    return [one["metric"] for one in answer.json()["series"]]


def problem(answer: httpx.Response, status: int, kind: str) -> str:
    assert answer.status_code == status, answer.text
    assert answer.json()["type"] == f"urn:hms-ops:problem:{kind}"
    return str(answer.json()["detail"])


def last_event(site: Serving, kind: str) -> dict[str, Any]:
    return events(site.engine, kind)[-1]


def test_series_are_listed_by_selector_with_unit_and_help(site: Serving) -> None:
    feed(site.engine, "finance.api_ms", 1.0, 2, kind="timer", tags={"agency": "irs"})
    feed(site.engine, "other", 1.0, 2)
    site.post("/v1/describe", json={"metric": "finance.api_ms", "unit": "ms", "help": "API latency"})
    answer = site.get("/v1/series", params={"match": '{agency="irs"}'})
    assert answer.json() == {
        "series": [
            {
                "metric": "finance.api_ms",
                "tags": {"agency": "irs"},
                "kind": "timer",
                "unit": "ms",
                "help": "API latency",
            }
        ],
        "is_complete": True,
    }
    assert names(site.get("/v1/series", params={"match": "nobody"})) == []
    assert site.get("/v1/series", params={"match": '{__name__=~".+"}', "limit": 1}).json()["is_complete"] is False
    assert "column 2" in problem(site.get("/v1/series", params={"match": "x["}), 400, "expression")
    assert "either" in problem(site.get("/v1/series", params={"match": "x", "prefix": "y"}), 400, "parameter")


def test_series_are_deleted_and_the_journal_says_by_whom(site: Serving) -> None:
    for host in ("db-1", "db-2"):
        feed(site.engine, "load", 1.0, 2, tags={"host": host})
    answer = site.client.delete("/v1/series", params={"match": '{host="db-1"}'})
    assert answer.status_code == 200
    assert (answer.json()["deleted"], answer.json()["series"][0]["tags"]) == (1, {"host": "db-1"})
    assert [one["tags"] for one in site.get("/v1/series").json()["series"]] == [{"host": "db-2"}]
    assert last_event(site, "delete")["by"] == "HTTP 127.0.0.1"
    assert site.client.delete("/v1/series", params={"match": '{host="db-1"}'}).json() == {"deleted": 0, "series": []}


@pytest.mark.parametrize(
    ("params", "kind"),
    [({}, "parameter"), ({"match": ""}, "parameter"), ({"match": "{}"}, "expression"), ({"prefix": "x"}, "parameter")],
)
def test_a_delete_without_a_selector_deletes_nothing(site: Serving, params: dict[str, str], kind: str) -> None:
    feed(site.engine, "load", 1.0, 2)
    problem(site.client.delete("/v1/series", params=params), 400, kind)
    assert names(site.get("/v1/series")) == ["load"]


@pytest.mark.parametrize("path", ["/v1/series?match=load", "/v1/describe", "/v1/export", "/v1/import", "/v1/backup"])
def test_a_page_of_another_origin_may_do_none_of_it(site: Serving, path: str) -> None:
    feed(site.engine, "load", 1.0, 2)
    for method in ("DELETE", "POST", "GET"):
        answer = site.client.request(method, path, headers={"Origin": "http://evil.example"})
        problem(answer, 403, "origin")
    assert names(site.get("/v1/series")) == ["load"]


def test_where_a_token_is_asked_for_nothing_is_done_without(site: Serving) -> None:
    with server_of(site.engine, tokens=("secret",)) as (_, url), httpx.Client(base_url=url, trust_env=False) as client:
        for method, path in (("DELETE", "/v1/series?match=x"), ("GET", "/v1/export"), ("POST", "/v1/backup")):
            problem(client.request(method, path), 401, "token")
        headers = {"Authorization": "Bearer secret"}
        assert client.delete("/v1/series?match=x", headers=headers).status_code == 200


# ---- describe


def test_what_is_described_stays_until_it_is_described_anew(site: Serving) -> None:
    assert site.post("/v1/describe", json={"metric": "x", "unit": "ms"}).json() == {
        "metric": "x",
        "unit": "ms",
        "help": "",
    }
    assert site.post("/v1/describe", json={"metric": "x", "help": "why"}).json()["unit"] == "ms"
    assert last_event(site, "describe")["metric"] == "x"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"metric": ""},
        {"metric": 5},
        {"metric": "x", "unit": 5},
        {"metric": "x", "units": "ms"},
        {"metric": "x" * 300},
    ],
)
def test_a_description_that_is_none_is_refused(site: Serving, document: dict[str, object]) -> None:
    problem(site.post("/v1/describe", json=document), 400, "describe")


# ---- export and import


def test_what_was_imported_is_exported_again(site: Serving) -> None:
    body = f"{HEADER}\n{ROW}".encode()
    assert site.post("/v1/import", content=body).json() == {
        "rows": 1, "written": 1, "present": 0, "bad": {}, "errors": [], "filled": 2,
    }  # fmt: skip
    assert site.post("/v1/import", content=body).json()["present"] == 1
    answer = site.get("/v1/export", params={"match": "old"})
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["content-type"].startswith("text/csv")
    text = site.get("/v1/export", params={"match": "old", "tier": "1h", "format": "openmetrics"}).text
    assert f'old_sum{{zone="a"}} 3 {OLD}\n' in text
    assert text.endswith("# EOF\n")
    assert site.get("/v1/export", params={"start": OLD + 10, "end": OLD + 20}).text == HEADER + "\n"
    assert last_event(site, "import")["present"] == 1


def test_a_packed_body_is_unpacked_within_its_bound(site: Serving) -> None:
    packed = {"Content-Encoding": "gzip"}
    body = gzip.compress(f"{HEADER}\n{ROW}".encode())
    assert site.post("/v1/import", content=body, headers=packed).json()["written"] == 1
    problem(site.post("/v1/import", content=body[:-9], headers=packed), 400, "gzip")
    bomb = gzip.compress(b"x" * (UNPACKED_BYTES_MAX + 1))
    problem(site.post("/v1/import", content=bomb, headers=packed), 413, "body-too-large")


def test_coarser_tiers_are_filled_by_the_last_of_several_posts(site: Serving) -> None:
    bodies = [f"{HEADER}\nold,,gauge,10s,{OLD + 10 * n},1,1,0,1,1,1\n" for n in range(3)]
    filled = [
        site.post("/v1/import" + ("?fill=false" if n < 2 else ""), content=body).json()["filled"]
        for n, body in enumerate(bodies)
    ]
    assert filled == [0, 0, 2]
    rows = site.get("/v1/export", params={"tier": "1m"}).text.splitlines()
    assert rows[1].split(",")[4:6] == [str(OLD), "3"]


def test_a_bad_row_costs_itself_and_a_body_of_nothing_else_is_400(site: Serving) -> None:
    answer = site.post("/v1/import", content=f"{HEADER}\nbad\n{ROW}".encode())
    assert (answer.status_code, answer.json()["bad"]) == (200, {"fields": 1})
    assert answer.json()["errors"][0].startswith("line 2: ")
    answer = site.post("/v1/import", content=f"{HEADER}\nbad\n".encode())
    assert "line 2" in problem(answer, 400, "unreadable")
    assert answer.json()["ledger"]["bad"] == {"fields": 1}
    assert "this is no export" in problem(site.post("/v1/import", content=b"x:1|c"), 400, "import")
    assert "neither true nor false" in problem(site.post("/v1/import?fill=no", content=b""), 400, "parameter")


def test_a_body_that_is_too_large_is_refused(site: Serving) -> None:
    problem(site.post("/v1/import", content=b"x" * (IMPORT_BYTES_MAX + 1)), 413, "body-too-large")
    assert site.server.site.bodies.held_bytes == 0


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ({"tier": "5s"}, "parameter"),
        ({"format": "xml"}, "parameter"),
        ({"tier": "all", "format": "openmetrics"}, "export"),
        ({"match": "x["}, "expression"),
        ({"start": "yesterday"}, "parameter"),
        ({"step": "10"}, "parameter"),
    ],
)
def test_an_export_that_cannot_be_is_a_problem_not_a_file(site: Serving, params: dict[str, str], kind: str) -> None:
    problem(site.get("/v1/export", params=params), 400, kind)


def test_a_long_export_comes_in_pieces_and_queries_are_answered_between(site: Serving) -> None:
    rows = "".join(f"old,n={n},gauge,10s,{OLD + 10 * (n % 6)},1,1,0,1,1,1\n" for n in range(2000))
    assert site.post("/v1/import", content=(HEADER + "\n" + rows).encode()).json()["written"] == 2000
    with site.client.stream("GET", "/v1/export") as answer:
        pieces = answer.iter_bytes()
        first = next(pieces)
        with httpx.Client(base_url=site.client.base_url, trust_env=False) as other:
            assert other.get("/v1/series", params={"limit": 1}).status_code == 200
        text = (first + b"".join(pieces)).decode()
    assert sorted(text.splitlines()[1:]) == sorted(rows.splitlines())


# ---- backup


def test_a_backup_is_written_by_the_engine(site: Serving, tmp_path: Path) -> None:
    feed(site.engine, "load", 1.0, 20)
    answer = site.post("/v1/backup", json={"directory": str(tmp_path / "backup")})
    assert answer.status_code == 201
    assert answer.json()["directory"] == str(tmp_path / "backup")
    assert (tmp_path / "backup" / "MANIFEST").exists()
    assert last_event(site, "backup")["files"] == answer.json()["files"]
    again = site.post("/v1/backup", json={"directory": str(tmp_path / "backup")})
    assert "is not empty" in problem(again, 400, "backup")


@pytest.mark.parametrize(
    "document", [{}, {"directory": 5}, {"directory": ""}, {"directory": "relative"}, {"dir": "/x"}]
)
def test_a_backup_to_nowhere_is_refused(site: Serving, document: dict[str, object]) -> None:
    problem(site.post("/v1/backup", json=document), 400, "backup")


@pytest.mark.parametrize("below", ["file/x", "file/x/y", "file", "x" * 256, "\0"])
def test_a_directory_that_cannot_be_made_is_refused(site: Serving, tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    problem(site.post("/v1/backup", json={"directory": str(tmp_path / below)}), 400, "backup")
    assert [path.name for path in tmp_path.glob("*") if path.name in ("file", "x")] == ["file"]
