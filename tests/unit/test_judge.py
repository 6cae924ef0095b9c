"""The judge grades final answers over HTTP, once each, in time, and its failures count against nobody."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rayplay.errors import AlarmError, RecipeError
from rayplay.judge import Judge
from rayplay.metrics import response_quality
from rayplay.recipe import JudgeSettings
from rayplay.records import Expected, Message, StopReason, Task, Trajectory, Turn
from rayplay.rewards import find_rewards, score


class Grader(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.headers["Authorization"], body))
        text = body["messages"][0]["content"]
        if "slow" in text.rpartition("<answer>")[2]:
            time.sleep(3)
        said = "no idea" if "odd" in text.rpartition("<answer>")[2] else "Grade: 7.5"
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        drip = "drip" in text.rpartition("<answer>")[2]
        reply = json.dumps({"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        for byte in reply.encode() if drip else ():
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(0.05)
        self.wfile.write(b"" if drip else reply.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Grader)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()


def sample(answer: str, stop: StopReason = StopReason.ANSWERED) -> Trajectory:
    task = Task.build("t", (Message(role="user", content="How far?"),), (), expected=Expected(answer=("12 km",)))
    turn = Turn(start=1, end=2, content=answer, finish="stop")
    return Trajectory(
        sample_id="g/0",
        group="g",
        task=task,
        policy="p",
        seed=0,
        prompt_length=1,
        token_ids=(1, 2),
        sampled_mask=(0, 1),
        turns=(turn,),
        stop_reason=stop,
        seconds=0.1,
    )


def judge(server, cache, **changes) -> Judge:
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    return Judge(JudgeSettings(base_url=url, model="m", **{"deadline_s": 5.0, **changes}), cache)


def test_an_answer_is_graded_once_and_remembered(server, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    grades = judge(server, tmp_path / "judge.jsonl")
    grades.prepare([sample("It is 12 km."), sample("It is 12 km."), sample("Far.")])
    asked = len(server.asked)
    assert grades(sample("It is 12 km.")) == 0.75 and len(server.asked) == asked
    assert judge(server, tmp_path / "judge.jsonl")(sample("Far.")) == 0.75 and len(server.asked) == asked
    key, body = server.asked[0]
    assert key == "Bearer secret-key" and "12 km" in body["messages"][0]["content"] and body["temperature"] == 0.0
    assert "secret-key" not in (tmp_path / "judge.jsonl").read_text()


def test_no_answer_is_worth_nothing_and_asks_nobody(server, tmp_path):
    assert judge(server, tmp_path / "j")(sample("cut", StopReason.TOKEN_LIMIT)) == 0.0
    assert not server.asked


@pytest.mark.parametrize("answer", ["odd", "slow"])
def test_a_judge_that_fails_is_left_out_of_the_mean(server, tmp_path, answer):
    grades = judge(server, tmp_path / "j", deadline_s=0.3)
    weights = {"judge": 0.5, "brevity": 0.5}
    scored = score(sample(answer), weights, find_rewards(weights, grades))
    assert scored.rewards == {"brevity": 1.0} and scored.reward == 1.0 and grades.failures == 1
    asked = len(server.asked)
    assert grades(sample(answer)) is None and len(server.asked) == asked  # not asked again by this process


def test_a_judge_that_grades_nothing_at_all_ends_the_run(server, tmp_path):
    grades = judge(server, tmp_path / "j")
    with pytest.raises(AlarmError, match=r"graded none of 16 answers; check judge\.base_url"):
        grades.prepare([sample(f"odd {n}") for n in range(16)])


def test_a_judge_that_drips_its_reply_is_cut_off_at_the_deadline(server, tmp_path):
    grades = judge(server, tmp_path / "j", deadline_s=0.3)
    assert grades(sample("drip")) is None


def test_the_grade_is_the_response_quality(server, tmp_path):
    weights = {"judge": 0.0, "answer": 1.0}
    scored = score(sample("Twelve."), weights, find_rewards(weights, judge(server, tmp_path / "j")))
    assert scored.rewards["answer"] == 0.0 and response_quality(scored) == 0.75


def test_a_reward_without_a_judge_is_refused():
    with pytest.raises(RecipeError, match="has no judge"):
        find_rewards({"judge": 1.0})


class Odd(BaseHTTPRequestHandler):
    """Answers as the path's first part says; counts the bytes that it could send."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.path.split("/")[1]
        if kind == "endless":
            return self.endless()
        body = BODIES[kind]
        self.send_response(307 if kind == "redirect" else 200)
        self.send_header("Location", self.path)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return self.wfile.write(body)

    def endless(self):
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(1024):
                self.wfile.write(b"7" * 65536)
                self.server.sent += 65536
        except OSError:
            self.close_connection = True

    def log_message(self, *_):
        pass


def completion(content) -> bytes:
    return json.dumps({"choices": [{"message": {"content": content}}]}).encode()


BODIES = {
    "page": b"<html>Welcome to the proxy</html>",
    "nothing": b"",
    "null": b"null",
    "list": b"[7]",
    "no_message": b'{"choices": [{"message": null}]}',
    "text_choices": b'{"choices": "7"}',
    "number": completion(7),
    "deep": b"[" * 500_000,
    "long_number": b'{"choices": ' + b"7" * 500_000 + b"}",
    "redirect": completion("7"),
    "no_unicode": b'{"choices": [{"message": {"content": "\xff7"}}]}',
}


@pytest.fixture(scope="module")
def odd():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    server.daemon_threads = True
    server.sent = 0
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def odd_judge(server, kind, cache) -> Judge:
    url = f"http://127.0.0.1:{server.server_address[1]}/{kind}/v1"
    return Judge(JudgeSettings(base_url=url, model="m", deadline_s=20.0), cache)


@pytest.mark.parametrize("kind", BODIES)
def test_a_reply_that_is_no_completion_gives_no_grade_and_is_counted_with_the_reason(odd, tmp_path, kind):
    grades = odd_judge(odd, kind, tmp_path / "j")
    assert grades(sample("Far.")) is None and grades.failures == 1 and grades.why_none.total() == 1


def test_a_reply_without_end_is_given_up_after_a_few_bytes(odd, tmp_path):
    grades = odd_judge(odd, "endless", tmp_path / "j")
    assert grades(sample("Far.")) is None and "longer than 1 MiB" in next(iter(grades.why_none))
    assert odd.sent < 32 << 20  # of the 128 MiB of two tries: what was under way in sockets' buffers


def test_a_reply_in_parts_is_read(odd, tmp_path, monkeypatch):
    monkeypatch.setitem(BODIES, "parts", completion([{"type": "text", "text": "3/"}, {"type": "text", "text": "5"}]))
    assert odd_judge(odd, "parts", tmp_path / "j")(sample("Far.")) == 0.6


@pytest.mark.parametrize("url", ["nowhere", "http://[", "ftp://127.0.0.1/v1", "http://127.0.0.1:1/v1"])
def test_an_address_that_nobody_answers_gives_no_grade(url, tmp_path):
    grades = Judge(JudgeSettings(base_url=url, model="m", deadline_s=5.0), tmp_path / "j")
    assert grades(sample("Far.")) is None and grades.failures == 1


def test_remembered_grades_outside_the_scale_are_asked_for_again(server, tmp_path):
    first = judge(server, tmp_path / "j")
    assert first(sample("Far.")) == 0.75
    key = json.loads((tmp_path / "j").read_text())["key"]
    for kept in ("7.5", "NaN", "-1", "[]"):
        (tmp_path / "j").write_text(f'{{"key": "{key}", "score": {kept}}}\n')
        asked = len(server.asked)
        assert judge(server, tmp_path / "j")(sample("Far.")) == 0.75 and len(server.asked) == asked + 1
