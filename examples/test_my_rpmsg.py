"""A page of tests for firmware that talks RPMsg with Linux; put your own ELF file in place of the echo server."""

from __future__ import annotations

import pytest

from cosim.errors import RunTimeout
from cosim.resources import firmware_file

FIRMWARE = firmware_file("rpmsg_echo.elf")


def test_it_announces_its_channels(cosim_rpmsg, signer):
    session = cosim_rpmsg(signer.sign(FIRMWARE))
    assert [channel.name for channel in session.channels] == ["rpmsg-client-sample", "rpmsg-tty"]


def test_it_answers_on_each_channel_and_keeps_the_rules(cosim_rpmsg, signer):
    session = cosim_rpmsg(signer.sign(FIRMWARE))
    for channel in session.channels:
        assert session.ask(b"ping", channel) == b"ping"
    assert session.findings == ()
    assert "channels announced" in session.trace


def test_a_message_takes_less_than_a_thousand_instructions(cosim_rpmsg, signer):
    exchange = cosim_rpmsg(signer.sign(FIRMWARE)).echo(20)
    assert exchange.ok
    assert max(exchange.instructions) < 1000


def test_linux_recovers_it_from_a_crash(cosim_rpmsg, signer):
    session = cosim_rpmsg(signer.sign(FIRMWARE))
    session.send(b"!crash")
    assert session.receive(wait_ps=10**9) is None
    assert session.host.crash_reason() is not None
    session.host.report_crash()
    assert session.host.run(lambda: len(session.channels) == 2, 10**9)
    assert session.ask(b"back again") == b"back again"


@pytest.mark.cosim(max_instructions=2000)
def test_a_bound_ends_the_run_with_an_error_that_says_so(cosim_rpmsg, signer):
    with pytest.raises(RunTimeout) as caught:
        cosim_rpmsg(signer.sign(FIRMWARE))
    assert caught.value.fields["instructions"] >= 2000
