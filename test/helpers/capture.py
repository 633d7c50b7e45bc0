"""Counts every frame of a network interface, both ways, until SIGTERM; then prints one JSON object.

python3 capture.py INTERFACE. Prints 'ready' first. Keys are 'arp SENDER > TARGET', 'udp SOURCE > TARGET', 'tcp ...', 'ip PROTOCOL ...', 'ipv6',
'ethertype NUMBER'; values are [frames, bytes]. 'lost' is what the kernel could not hand over: a capture with holes proves nothing.
"""
import json
import signal
import socket
import struct
import sys

ETH_P_ALL = 3
SOL_PACKET, PACKET_STATISTICS = 263, 6
PROTOCOLS = {6: 'tcp', 17: 'udp'}


def kind(frame):
    ethertype = struct.unpack('!H', frame[12:14])[0]
    if ethertype == 0x0806:
        return 'arp %s > %s' % (socket.inet_ntoa(frame[28:32]), socket.inet_ntoa(frame[38:42]))
    if ethertype == 0x86DD:
        return 'ipv6'
    if ethertype != 0x0800:
        return 'ethertype %04x' % ethertype
    header = 14 + (frame[14] & 15) * 4
    ends = [socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])]
    name = PROTOCOLS.get(frame[23])
    if name is None:
        return 'ip %d %s > %s' % (frame[23], *ends)
    ports = struct.unpack('!HH', frame[header:header + 4])
    return '%s %s:%d > %s:%d' % (name, ends[0], ports[0], ends[1], ports[1])


def main():
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    wire.bind((sys.argv[1], 0))
    wire.settimeout(0.2)
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    print('ready', flush=True)
    frames = {}
    while True:
        try:
            frame = wire.recv(65536)
            entry = frames.setdefault(kind(frame), [0, 0])
            entry[0] += 1
            entry[1] += len(frame)
        except socket.timeout:
            # Only once the wire is empty: what was sent before the signal counts.
            if ended:
                break
    lost = struct.unpack('II', wire.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
    print(json.dumps({'frames': frames, 'lost': lost}), flush=True)


main()
