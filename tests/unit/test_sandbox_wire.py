import socket
import threading

import pytest

from rayplay.sandbox.wire import CHUNK, receive_frame, send_frame


def exchanged(*pieces: bytes):
    """What is received of bytes that arrive in pieces, before the other side closes."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(10)

        def send():
            with theirs:
                for piece in pieces:
                    theirs.sendall(piece)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            return receive_frame(ours)
        finally:
            sender.join()


def framed(header: dict, *blobs: bytes) -> bytes:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send_frame(ours, header, *blobs)
        return theirs.recv(1 << 20)


def test_a_frame_arrives_whole_however_it_is_cut():
    whole = framed({"a": 1}, b"one", b"", b"\x00two")
    expected = ({"a": 1}, [b"one", b"", b"\x00two"])
    assert exchanged(whole) == expected
    assert exchanged(*(whole[n : n + 1] for n in range(len(whole)))) == expected


def test_blobs_may_be_longer_than_one_read():
    long = bytes(range(256)) * (CHUNK // 100)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=send_frame, args=(ours, {"n": 2}, long, b"end"))
        sender.start()
        theirs.settimeout(10)
        assert receive_frame(theirs) == ({"n": 2}, [long, b"end"])
        sender.join()


@pytest.mark.parametrize("cut", [0, 2, 9, -1])
def test_a_frame_that_stops_short_is_the_end(cut):
    with pytest.raises(EOFError):
        exchanged(framed({"a": 1}, b"blob")[:cut])


def test_what_is_no_frame_or_more_than_one_is_refused():
    with pytest.raises(ValueError, match="after a frame"):
        exchanged(framed({"a": 1}, b"x") + b"more")
    with pytest.raises(ValueError, match="header of"):
        exchanged(b"\xff\xff\xff\xff")
    with pytest.raises(ValueError, match="Expecting"):
        exchanged(b"\x00\x00\x00\x02{]")
