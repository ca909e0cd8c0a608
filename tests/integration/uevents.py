"""Makes the kernel broadcast uevents of our own: run by a Python inside of a private network namespace.

Linux >= 4.18, CAP_SYS_ADMIN over the namespace's owner. Receivers see port 0, the kernel, as for a real event.
Source: uevent_net_rcv_skb in lib/kobject_uevent.c. Commands come on standard input, one a line; `ok` answers each.
"""

import socket
import struct
import sys
from collections.abc import Iterable

NETLINK_KOBJECT_UEVENT = 15
GROUP = 1


def message(action: str, devpath: str, subsystem: str, *more: str) -> bytes:
    fields = [f"{action}@{devpath}", f"ACTION={action}", f"DEVPATH={devpath}", f"SUBSYSTEM={subsystem}", *more]
    return b"".join(field.encode() + b"\0" for field in fields)


def send(payloads: Iterable[bytes]) -> None:
    """Have the kernel broadcast each payload; it adds SEQNUM."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT) as kernel:
        kernel.bind((0, 0))
        for payload in payloads:
            header = struct.pack("=IHHII", 16 + len(payload), 0x10, 1, 1, 0)  # length, type, flags, sequence, port
            kernel.sendto(header + payload, (0, 0))


def forge(payload: bytes) -> None:
    """Send a message to the kernel's group from a port that is not the kernel's."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT) as forger:
        forger.bind((0, 0))
        forger.sendto(payload, (0, GROUP))


def main() -> None:
    for line in sys.stdin:
        match line.split():
            case ["send", action, devpath, subsystem, *more]:
                send([message(action, devpath, subsystem, *more)])
            case ["burst", times, subsystem]:
                send(message("change", f"/devices/x{number}", subsystem) for number in range(int(times)))
            case ["raw", payload]:
                send([bytes.fromhex(payload)])
            case ["forge", devpath, subsystem]:
                forge(message("add", devpath, subsystem))
            case words:
                raise ValueError(words)
        sys.stdout.write("ok\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
