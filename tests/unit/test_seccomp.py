"""The two filters of a child, run by an interpreter of classic BPF: together they are the allow-list and no more."""

import errno
import platform
import struct

import pyseccomp
import pytest

from rayplay.sandbox import seccomp

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of system calls below are x86_64's")
X86_64, I386 = 0xC000003E, 0x40000003
ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000
CLONE_THREAD, CLONE_NEWUSER, CLONE_VFORK, FORK = 0x10000, 0x10000000, 0x4000, 0x1200011
NUMBERS = range(512)


def verdict(program: bytes, number: int, arguments: tuple[int, ...] = (), arch: int = X86_64) -> int:
    """What a filter returns for a system call (its instructions: the kernel's networking/filter.rst)."""
    data = struct.pack("iIQ6Q", number, arch, 0, *arguments, *(0,) * (6 - len(arguments)))
    accumulator, position, memory = 0, 0, [0] * 16
    while True:
        code, if_true, if_false, operand = struct.unpack_from("HBBI", program, 8 * position)
        position += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("I", data, operand)
            case 0x02:
                memory[operand] = accumulator
            case 0x60:
                accumulator = memory[operand]
            case 0x54:
                accumulator &= operand
            case 0x05:
                position += operand
            case 0x15:
                position += if_true if accumulator == operand else if_false
            case 0x25:
                position += if_true if accumulator > operand else if_false
            case 0x35:
                position += if_true if accumulator >= operand else if_false
            case 0x06:
                return operand
            case _:
                raise AssertionError(f"instruction {code:#x}")


def precedence(value: int) -> int:
    action = value & 0xFFFF0000
    return action - (1 << 32) if action & 0x80000000 else action


def for_child(name_or_number: str | int, *arguments: int, networked=False, owner=False, arch=X86_64) -> int:
    """The kernel takes the strictest verdict; among equals that of the filter added last."""
    by_name = isinstance(name_or_number, str)
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name_or_number) if by_name else name_or_number
    inherited, added = seccomp.build_filters(networked, owner)
    return min((verdict(program, number, arguments, arch) for program in (added, inherited)), key=precedence)


def refused(error: int) -> int:
    return 0x50000 | error


def test_what_is_not_named_is_not_there():
    inherited, added = seccomp.build_filters()
    conditional = {"fcntl", "ioctl", "prctl", "prlimit64", "socketpair", "sendto", "clone"}
    named = {
        pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
        for name in {*seccomp.ALLOWED, *seccomp.REFUSED, *seccomp.ZYGOTE, *conditional, "fallocate", "socket"}
    }
    for number in set(NUMBERS) - named:
        assert verdict(inherited, number) == refused(errno.ENOSYS), number
        assert verdict(added, number) == ALLOW


@pytest.mark.parametrize("name", seccomp.ALLOWED)
def test_what_tools_need_is_allowed(name):
    assert for_child(name) == ALLOW


@pytest.mark.parametrize("name", seccomp.ZYGOTE)
def test_what_the_zygote_alone_needs_is_taken_from_its_children(name):
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    assert verdict(seccomp.build_filters()[0], number) == ALLOW
    assert for_child(name) == refused(seccomp.ZYGOTE[name])


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (("clone", CLONE_THREAD | 0x3D0F00), ALLOW),
        (("clone", FORK), refused(errno.EPERM)),
        (("clone", FORK | CLONE_NEWUSER), refused(errno.EPERM)),
        (("clone", CLONE_THREAD | CLONE_NEWUSER), refused(errno.ENOSYS)),
        (("clone", CLONE_THREAD | CLONE_VFORK), refused(errno.ENOSYS)),
        (("clone3",), refused(errno.ENOSYS)),
        (("prctl", 1, 0), refused(errno.ENOSYS)),  # PR_SET_PDEATHSIG
        (("prctl", 4, 1), refused(errno.ENOSYS)),  # PR_SET_DUMPABLE
        (("prctl", (1 << 32) + 4, 1), refused(errno.ENOSYS)),
        (("prctl", 38, 1), refused(errno.ENOSYS)),
        (("prctl", 15), ALLOW),
        (("prlimit64", 0, 7, 0), ALLOW),
        (("prlimit64", 0, 7, 1 << 33), refused(errno.ENOSYS)),
        (("fcntl", 3, 8), refused(errno.ENOSYS)),  # F_SETOWN
        (("fcntl", 3, 4, 0o4000), ALLOW),
        (("fcntl", 3, 4, 0o20000), refused(errno.ENOSYS)),
        (("ioctl", 0, 0x5412), refused(errno.ENOSYS)),  # TIOCSTI
        (("socketpair", 1, 1), ALLOW),
        (("socketpair", 1, 2), refused(errno.ENOSYS)),
        (("socket", 2, 1), refused(errno.EPERM)),
        (("sendto", 3, 0, 0, 0, 0), ALLOW),
        (("sendto", 3, 0, 0, 0, 1), refused(errno.ENOSYS)),
        (("futex", 0, 128), ALLOW),  # FUTEX_WAIT, private
        (("futex", 0, 9 | 128 | 256), ALLOW),
        (("futex", 0, 6), refused(errno.ENOSYS)),  # FUTEX_LOCK_PI
        (("futex", 0, 13 | 128), refused(errno.ENOSYS)),
        (("madvise", 0, 0, 4), ALLOW),
        (("madvise", 0, 0, 12), refused(errno.ENOSYS)),  # MADV_MERGEABLE
        (("madvise", 0, 0, 21), refused(errno.ENOSYS)),  # MADV_PAGEOUT
        (("recvfrom", 3, 0, 0, 0x40), ALLOW),
        (("recvfrom", 3, 0, 0, 1), refused(errno.ENOSYS)),  # MSG_OOB
        (("sendto", 3, 0, 0, 1), refused(errno.ENOSYS)),
        (("getpgid", 1), refused(errno.ENOSYS)),
        (("getpriority", 0, 7), refused(errno.ENOSYS)),
        (("prlimit64", 1, 7, 0), refused(errno.ENOSYS)),
        (("mincore",), refused(errno.ENOSYS)),
        (("execve",), refused(errno.EPERM)),
        (("fallocate",), refused(errno.EOPNOTSUPP)),
    ],
)
def test_arguments_decide(call, expected):
    assert for_child(*call) == expected


def test_network_and_ownership_move_only_what_they_name():
    assert for_child("socket", 2, 1, networked=True) == ALLOW
    assert for_child("socket", 16, 3, networked=True) == refused(errno.ENOSYS)
    assert for_child("sendto", 3, 0, 0, 0, 1, networked=True) == ALLOW
    for name, flags in (("sendto", 3), ("sendmsg", 2), ("recvmsg", 2)):
        assert for_child(name, networked=True) == ALLOW
        assert for_child(name, *(0,) * flags, 1, networked=True) == refused(errno.ENOSYS)
    for name in seccomp.OWNERS:
        assert for_child(name) == ALLOW
        assert for_child(name, owner=True) == refused(errno.EPERM)


@pytest.mark.parametrize("number", [1, 11, 0x40000001])
def test_other_abis_end_the_process(number):
    arch = X86_64 if number > 0xFFFF else I386
    assert for_child(number, arch=arch) == KILL_PROCESS
