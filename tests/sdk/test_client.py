"""Both clients against one scripted server: answers, problems, retries, resumed event streams."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from synfarm import sdk
from synfarm.contracts.backgrounds import BackgroundsAnswer, BackgroundsRequest
from synfarm.contracts.events import Event, EventType
from synfarm.contracts.jobs import JobRequest, JobState
from synfarm.contracts.manifests import Counts
from synfarm.contracts.problems import Problem
from synfarm.contracts.runs import RunRequest, RunState
from synfarm.contracts.tries import TryRequest
from synfarm.contracts.views import JobView, RunView
from synfarm.sdk import ApiUnreachable, AsyncClient, Client, ClientConfig, NotAllowed, NotFound, Refused, aio, client

JOB = "01hzzzzzzzzzzzzzzzzzzzzzzz"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = ClientConfig("http://farm", "http://trainer", key="sf_secret", pause=0.0, tries=3)
REQUEST = JobRequest.model_validate({"concepts": ["dog"], "captions": 8})

Handler = Callable[[httpx.Request], httpx.Response]
Method = Callable[..., Any]


def view(state: str = "running") -> JobView:
    return JobView(
        job=JOB,
        name="job",
        owner="local",
        state=JobState(state),
        created_at=NOW,
        planned_captions=8,
        planned_units=1,
        counts=Counts(),
        as_of=NOW,
    )


def event(sequence: int, type_: EventType = EventType.UNITS, **data: Any) -> Event:
    return Event(id=f"e-{sequence}", type=type_, at=NOW, data=data)


def stream(*events: Event) -> httpx.Response:
    text = "".join(f"id: {e.id}\nevent: {e.type}\ndata: {e.model_dump_json()}\n\n" for e in events)
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, text=": hello\n\n" + text)


def problem(status: int, code: str) -> httpx.Response:
    body = Problem(
        title=code, status=status, detail="It went wrong.", code=code, field="captions", hint="Ask for less."
    )
    return httpx.Response(status, content=body.to_bytes())


class Server:
    """Answers in turn; keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers: Iterator[httpx.Response | Exception] = iter(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Callable[[Server, Callable[[Any], Any]], Any]:
    """Run ``use(client)`` with either client; an async result is awaited, a stream is read to its end."""

    def sync(server: Server, use: Callable[[Any], Any]) -> Any:
        with Client(CONFIG, transport=httpx.MockTransport(server)) as made:
            result = use(made)
            return list(result) if isinstance(result, Iterator) else result

    def run_async(server: Server, use: Callable[[Any], Any]) -> Any:
        async def main() -> Any:
            async with AsyncClient(CONFIG, transport=httpx.MockTransport(server)) as made:
                result = use(made)
                return await result if inspect.isawaitable(result) else [e async for e in result]

        return asyncio.run(main())

    return sync if request.param == "sync" else run_async


def test_submits_with_the_key_and_an_idempotency_key(call: Method) -> None:
    server = Server(httpx.Response(201, content=view().to_bytes()))
    assert call(server, lambda c: c.jobs.submit(REQUEST)) == view()
    (asked,) = server.asked
    assert (asked.method, str(asked.url)) == ("POST", "http://farm/v1/jobs")
    assert asked.headers["Authorization"] == "Bearer sf_secret"
    assert len(asked.headers["Idempotency-Key"]) == 32
    assert json.loads(asked.content) == {"concepts": [{"name": "dog"}], "captions": 8}


def test_a_lost_answer_is_asked_for_again_with_the_same_key(call: Method) -> None:
    server = Server(httpx.ReadTimeout("lost"), httpx.Response(503), httpx.Response(201, content=view().to_bytes()))
    assert call(server, lambda c: c.jobs.submit(REQUEST)) == view()
    assert len({asked.headers["Idempotency-Key"] for asked in server.asked}) == 1


def test_settings_may_take_longer_than_other_answers(call: Method) -> None:
    answer = BackgroundsAnswer(items=(), llm_model="m", llm_revision=None)
    server = Server(httpx.Response(200, content=answer.to_bytes()), httpx.Response(200, content=view().to_bytes()))
    request = BackgroundsRequest.model_validate({"concepts": ["dog"]})
    assert call(server, lambda c: c.make_backgrounds(request)) == answer
    (asked,) = server.asked
    assert (asked.method, asked.url.path, json.loads(asked.content)) == (
        "POST",
        "/v1/backgrounds",
        {"concepts": [{"name": "dog"}]},
    )
    assert asked.extensions["timeout"]["read"] > 10 * CONFIG.timeout
    call(server, lambda c: c.jobs.get(JOB))
    assert server.asked[1].extensions["timeout"]["read"] == CONFIG.timeout


ASKING: list[Method] = [
    lambda c: c.make_backgrounds(BackgroundsRequest.model_validate({"concepts": ["dog"]})),
    lambda c: c.try_captions(TryRequest.model_validate({"concepts": ["dog"]})),
]


def scripted(answer: Exception | int) -> httpx.Response | Exception:
    return httpx.Response(answer) if isinstance(answer, int) else answer


@pytest.mark.parametrize("use", ASKING)
@pytest.mark.parametrize("lost", [httpx.ReadTimeout("slow"), 504])
def test_what_the_llm_may_still_be_writing_is_not_asked_for_again(call: Method, use: Method, lost: Any) -> None:
    server = Server(scripted(lost), httpx.Response(500), httpx.Response(500))
    with pytest.raises(ApiUnreachable if isinstance(lost, Exception) else sdk.ApiError, match=r"ReadTimeout|504"):
        call(server, use)
    assert len(server.asked) == 1


@pytest.mark.parametrize("use", ASKING)
@pytest.mark.parametrize("refused", [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), 429])
def test_what_the_llm_was_never_asked_is_sent_again(call: Method, use: Method, refused: Any) -> None:
    answer = httpx.Response(200, content=b'{"items": [], "llm_model": "m", "llm_revision": null}')
    server = Server(scripted(refused), answer)
    assert call(server, use).llm_model == "m"
    assert len(server.asked) == 2


def test_a_run_is_not_started_twice(call: Method) -> None:
    started = RunView(
        run=JOB,
        name="run",
        owner="local",
        state=RunState.QUEUED,
        created_at=NOW,
        as_of=NOW,
        preset="tiny",
        datasets=(),
        total_steps=9,
    )
    server = Server(httpx.ReadTimeout("lost"), httpx.Response(504), httpx.Response(201, content=started.to_bytes()))
    assert call(server, lambda c: c.runs.start(RunRequest(jobs=(JOB,)))) == started
    assert len({asked.headers["Idempotency-Key"] for asked in server.asked}) == 1
    server = Server(httpx.Response(201, content=started.to_bytes()))
    call(server, lambda c: c.runs.start(RunRequest(jobs=(JOB,)), idempotency_key="mine"))
    assert server.asked[0].headers["Idempotency-Key"] == "mine"


@pytest.mark.parametrize("key", ["é x", "two words", "", "k" * 256])
def test_a_key_that_no_header_takes_is_refused_before_anything_is_sent(call: Method, key: str) -> None:
    server = Server(httpx.Response(201, content=view().to_bytes()))
    with pytest.raises(ValueError, match="1 to 255 printable ASCII characters"):
        call(server, lambda c: c.jobs.submit(REQUEST, idempotency_key=key))
    assert not server.asked


_LOST: list[int | Exception] = [httpx.ReadTimeout("lost"), httpx.RemoteProtocolError("cut"), 504]
_NOT_SENT: list[int | Exception] = [httpx.ConnectError("refused"), 503, 429]


def failed(how: int | Exception) -> httpx.Response | Exception:
    return httpx.Response(how) if isinstance(how, int) else how


@pytest.mark.parametrize("first", _LOST)
def test_what_a_lost_try_has_deleted_is_deleted(call: Method, first: int | Exception) -> None:
    gone = Server(failed(first), problem(404, "job_not_found"))
    assert call(gone, lambda c: c.jobs.delete(JOB)) is None
    gone = Server(failed(first), problem(404, "concept_set_not_found"))
    assert call(gone, lambda c: c.delete_concept_set("mine")) is None
    there = Server(failed(first), httpx.Response(202, content=view().to_bytes()))
    assert call(there, lambda c: c.jobs.delete(JOB)) == view()


@pytest.mark.parametrize("first", _NOT_SENT)
def test_what_no_try_can_have_deleted_is_not_found(call: Method, first: int | Exception) -> None:
    with pytest.raises(NotFound):
        call(Server(failed(first), problem(404, "job_not_found")), lambda c: c.jobs.delete(JOB))
    with pytest.raises(NotFound):
        call(Server(failed(first), problem(404, "concept_set_not_found")), lambda c: c.delete_concept_set("mine"))


def test_a_404_that_is_not_the_jobs_own_stays_one(call: Method) -> None:
    lost = httpx.ReadTimeout("lost")
    with pytest.raises(NotFound):
        call(Server(problem(404, "job_not_found")), lambda c: c.jobs.delete(JOB))
    with pytest.raises(NotFound):
        call(Server(lost, httpx.Response(404, text="<html>nginx</html>")), lambda c: c.jobs.delete(JOB))
    with pytest.raises(NotFound):
        call(Server(lost, problem(404, "job_not_found")), lambda c: c.jobs.get(JOB))


def test_an_extension_whose_answer_was_lost_is_seen_in_the_job(call: Method) -> None:
    lost, refused = httpx.ReadTimeout("lost"), problem(422, "captions_not_more")
    ended = view("completed").to_bytes()  # of 8 captions
    server = Server(lost, refused, httpx.Response(200, content=ended))
    assert call(server, lambda c: c.jobs.extend(JOB, 8)) == view("completed")
    assert [asked.method for asked in server.asked] == ["POST", "POST", "GET"]
    assert server.asked[2].url.path == f"/v1/jobs/{JOB}"
    with pytest.raises(Refused):
        call(Server(lost, refused, httpx.Response(200, content=ended)), lambda c: c.jobs.extend(JOB, 9))
    with pytest.raises(Refused):
        call(Server(refused), lambda c: c.jobs.extend(JOB, 8))
    with pytest.raises(Refused):
        call(Server(lost, problem(409, "job_cancelled")), lambda c: c.jobs.extend(JOB, 8))


def test_gives_up_after_its_tries(call: Method) -> None:
    server = Server(*[httpx.ConnectError("refused")] * 3)
    with pytest.raises(ApiUnreachable, match="GET http://farm"):
        call(server, lambda c: c.jobs.get(JOB))


@pytest.mark.parametrize(("status", "kind"), [(401, NotAllowed), (404, NotFound), (422, Refused), (409, Refused)])
def test_problems_become_exceptions(call: Method, status: int, kind: type[sdk.ApiError]) -> None:
    with pytest.raises(kind, match=r"It went wrong\. \(field: captions\) Ask for less\.") as caught:
        call(Server(problem(status, "too_much")), lambda c: c.jobs.get(JOB))
    error = caught.value
    assert (error.code, error.field, error.hint, error.status) == ("too_much", "captions", "Ask for less.", status)


def test_a_foreign_answer_is_told(call: Method) -> None:
    with pytest.raises(NotFound, match="Check that the address"):
        call(Server(httpx.Response(404, text="<html>nginx</html>")), lambda c: c.jobs.get(JOB))


def test_events_resume_after_the_last_one_and_stop_at_the_end(call: Method) -> None:
    server = Server(
        stream(event(1), event(2)),
        httpx.ConnectError("gone"),
        stream(event(3), event(4, EventType.STATE, state="completed"), event(5)),
    )
    assert [e.id for e in call(server, lambda c: c.jobs.events(JOB))] == ["e-1", "e-2", "e-3", "e-4"]
    assert [asked.headers.get("Last-Event-ID") for asked in server.asked] == [None, "e-2", "e-2"]


def test_events_of_an_unknown_job(call: Method) -> None:
    with pytest.raises(NotFound):
        call(Server(problem(404, "job_not_found")), lambda c: c.jobs.events(JOB))


def test_waits_for_the_end(call: Method) -> None:
    server = Server(*[httpx.Response(200, content=view(s).to_bytes()) for s in ("queued", "running", "completed")])
    assert call(server, lambda c: c.jobs.wait(JOB, poll=0.0)).state is JobState.COMPLETED


def test_an_id_cannot_leave_its_path(call: Method) -> None:
    server = Server()
    for hostile in ("../runs", f"{JOB}/cancel", ""):
        with pytest.raises(ValueError, match="not an id"):
            call(server, lambda c, hostile=hostile: c.jobs.get(hostile))
    assert not server.asked


CAPTION = f"{JOB}-0000000007"
METRICS = {
    "items": [
        {
            "step": 10,
            "at": "2026-01-01T00:00:00Z",
            "epoch": 0.5,
            "losses": {"contrastive": 4.25, "total": 4.25},
            "loss_hex": "0x1.1000000000000p+2",
            "batch_sha256": "ab" * 32,
            "learning_rate": 0.001,
            "ema_momentum": 0.99,
            "seconds": 0.4,
            "data_wait_seconds": 0.01,
            "images_per_second": 80.0,
        }
    ],
    "next_since": 10,
}
ANSWERS = {
    "metrics": (lambda c: c.runs.metrics(JOB, since=5, limit=50), "metrics?since=5&limit=50", METRICS),
    "evals": (lambda c: c.runs.evals(JOB), "evals", {"evals": {"0": {"knn": {"top1": 0.1}}, "40": {"knn": {}}}}),
    "artifacts": (lambda c: c.runs.artifacts(JOB), "artifacts", {"items": [{"name": "patch-pca.png", "size": 9}]}),
}


@pytest.mark.parametrize("what", sorted(ANSWERS))
def test_what_a_run_has_left(call: Method, what: str) -> None:
    """Answers as the trainer gives them."""
    use, path, answer = ANSWERS[what]
    server = Server(httpx.Response(200, content=json.dumps(answer)))
    found = call(server, use)
    assert str(server.asked[0].url) == f"http://trainer/v1/runs/{JOB}/{path}"
    given = found if isinstance(found, dict) else json.loads(found.model_dump_json(exclude_defaults=True))
    assert given == (answer["evals"] if what == "evals" else answer)


def test_an_artefact_comes_as_it_is_and_its_name_cannot_leave_its_folder(call: Method) -> None:
    server = Server(httpx.Response(200, content=b"\x89PNG\x00"))
    assert call(server, lambda c: c.runs.artifact(JOB, "patch-pca.png")) == b"\x89PNG\x00"
    assert str(server.asked[0].url) == f"http://trainer/v1/runs/{JOB}/artifacts/patch-pca.png"
    for hostile in ("../spec", "a/b", "..", "", "a?b"):
        with pytest.raises(ValueError, match="plain file name"):
            call(server, lambda c, hostile=hostile: c.runs.artifact(JOB, hostile))


def test_samples_are_asked_for_with_what_was_given_alone(call: Method) -> None:
    page = httpx.Response(200, content=b'{"items": []}')
    server = Server(page, page)
    call(server, lambda c: c.jobs.samples(JOB))
    call(server, lambda c: c.jobs.samples(JOB, concept="red fox & co", per_concept=2, cursor=0, limit=9))
    assert [str(asked.url.query, "ascii") for asked in server.asked] == [
        "",
        "concept=red+fox+%26+co&per_concept=2&cursor=0&limit=9",
    ]


def test_an_image_is_asked_for_again_while_the_store_is_away(call: Method) -> None:
    server = Server(problem(503, "store_away"), httpx.Response(200, content=b"jpeg"))
    assert call(server, lambda c: c.jobs.image(JOB, CAPTION, 3)) == b"jpeg"
    assert server.asked[1].url.path == f"/v1/jobs/{JOB}/images/{CAPTION}/3"
    with pytest.raises(ValueError, match="caption id"):
        call(server, lambda c: c.jobs.image(JOB, "../../v1/workers", 0))


def test_both_clients_offer_the_same() -> None:
    def surface(owner: type) -> dict[str, list[str]]:
        return {n: list(inspect.signature(m).parameters) for n, m in vars(owner).items() if not n.startswith("_")}

    assert surface(client.Jobs) == surface(aio.Jobs)
    assert surface(client.Runs) == surface(aio.Runs)
    assert surface(client.CaptionFiles) == surface(aio.CaptionFiles)
    assert surface(Client) == surface(AsyncClient)


def test_key_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "key").write_text("sf_from_file\n")
    monkeypatch.setenv("SYNFARM_API_URL", "http://far:1")
    monkeypatch.setenv("SYNFARM_API_KEY_FILE", str(tmp_path / "key"))
    config = ClientConfig.from_environment()
    assert (config.api_url, config.key) == ("http://far:1", "sf_from_file")
    assert "sf_from_file" not in repr(config)
    monkeypatch.setenv("SYNFARM_API_KEY", "sf_direct")
    assert ClientConfig.from_environment().key == "sf_direct"
