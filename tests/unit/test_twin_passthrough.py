"""The end of a pipeline's output, seen in its fragments alone."""

from __future__ import annotations

from psrpcore import ClientPowerShell, ClientRunspacePool, PSRPPayload, ServerPipeline, ServerRunspacePool, StreamType

from exoscope.twin.passthrough import Ends


def answers(text: str, fragment: int) -> list[bytes]:
    """What a server sends for a pipeline that writes a text and completes, in pieces of so many bytes."""
    client, server = ClientRunspacePool(), ServerRunspacePool()

    def carry() -> None:
        while (sent := client.data_to_send()) is not None:
            server.receive_data(PSRPPayload(sent.data, StreamType.default, sent.pipeline_id))
            while server.next_event() is not None:
                pass
        while (back := server.data_to_send()) is not None:
            client.receive_data(PSRPPayload(back.data, StreamType.default, back.pipeline_id))
            while client.next_event() is not None:
                pass

    client.open()
    carry()
    shell = ClientPowerShell(client)
    shell.add_script("'x'")
    pipeline = ServerPipeline(server, shell.pipeline_id)
    shell.start()
    carry()
    pipeline.start()
    pipeline.write_output(text)
    pipeline.complete()
    found = []
    while (payload := server.data_to_send(fragment)) is not None:
        found.append(payload.data)
    return found


def test_the_last_piece_ends_it_and_no_other_does() -> None:
    for size in (30_000, 2_000):
        pieces = answers("a text that is long enough " * 50, size)
        ends = Ends()
        seen = [ends.seen(piece) for piece in pieces]
        assert seen == [False] * (len(pieces) - 1) + [True]
        assert Ends().seen(b"".join(pieces))


def test_half_a_header_ends_nothing() -> None:
    assert not Ends().seen(answers("x", 30_000)[-1][:20])
    assert not Ends().seen(b"")
