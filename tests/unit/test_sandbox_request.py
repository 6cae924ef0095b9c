import os
import threading

import pytest

from rayplay.sandbox.request import encode_request, read_request
from rayplay.sandbox.wire import CHUNK

LIMITS = {"memory_mb": 512, "cpu_s": 3}


def read_back(*pieces: bytes):
    """What is read of bytes that arrive in pieces, before the other side closes."""
    read_end, write_end = os.pipe()

    def send():
        for piece in pieces:
            os.write(write_end, piece)
        os.close(write_end)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        return read_request(read_end)
    finally:
        sender.join()
        os.close(read_end)


@pytest.mark.parametrize(
    ("tools", "blobs"),
    [(["echo"], [b"{}", b""]), (["größe", "echo", ""], [b'{"a": 1}', b"", b"\x00\n", b"state"])],
)
def test_a_request_arrives_whole_however_it_is_cut(tools, blobs):
    whole = encode_request({"tools": tools, "deadline_s": 0.5, **LIMITS}, blobs)
    expected = (512, 3, tools, blobs)
    assert read_back(whole) == expected
    assert read_back(*(whole[n : n + 1] for n in range(len(whole)))) == expected


def test_arguments_and_state_may_be_longer_than_one_read():
    blobs = [bytes(range(256)) * (CHUNK // 100), b"x" * (CHUNK + 1)]
    assert read_back(encode_request({"tools": ["echo"], **LIMITS}, blobs)) == (512, 3, ["echo"], blobs)


@pytest.mark.parametrize("cut", [0, 2, 30, -1])
def test_a_request_that_stops_short_is_the_end(cut):
    with pytest.raises(EOFError):
        read_back(encode_request({"tools": ["echo"], **LIMITS}, [b"{}", b""])[:cut])
