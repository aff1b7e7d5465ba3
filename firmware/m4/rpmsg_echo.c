/*
 * An RPMsg echo server: announces two channels and sends every message back to where it came from.
 * The text "!crash" is not echoed: it executes an undefined instruction.
 */
#include <stdint.h>

#include "faults.h"
#include "mailbox.h"
#include "report.h"
#include "rpmsg.h"
#include "stm32mp15.h"

/* Linux binds rpmsg_client_sample.c and rpmsg_tty.c to these names. */
#define SAMPLE_ADDRESS 0x400u
#define TTY_ADDRESS 0x401u

/* The rings lie in memory and are cheap to look at; without work the mailbox is looked at every so many rounds. */
#define ROUNDS_PER_MAILBOX 64u

/* Messages echoed so far. */
volatile uint32_t cosim_counter;

int main(void);

static int is_crash(const struct rpmsg_message *message)
{
    static const char wanted[] = "!crash";

    if (message->size != sizeof(wanted) - 1u)
        return 0;
    for (uint32_t i = 0; i < sizeof(wanted) - 1u; i++)
        if (message->data[i] != (uint8_t)wanted[i])
            return 0;
    return 1;
}

/* Echo one message; 0 when there is none. */
static int echo(void)
{
    struct rpmsg_message message;

    if (!rpmsg_receive(&message))
        return 0;
    if (is_crash(&message)) {
        trace_text("rpmsg: crash asked for\n");
        __asm volatile("udf #0");
    }
    rpmsg_send(message.destination, message.source, message.data, message.size);
    rpmsg_done();
    cosim_counter++;
    return 1;
}

static void shut_down(void)
{
    trace_text("rpmsg: shutdown\n");
    mailbox_shutdown_done();
    for (;;)
        __asm volatile("wfi");
}

int main(void)
{
    faults_enable();
    report_init();
    mailbox_init();
    trace_text("rpmsg: echo server waits for the host's driver\n");
    if (!rpmsg_init())
        shut_down();
    rpmsg_announce("rpmsg-client-sample", SAMPLE_ADDRESS);
    rpmsg_announce("rpmsg-tty", TTY_ADDRESS);
    trace_text("rpmsg: channels announced\n");
    report_state(COPRO_STATE_RUN);
    for (uint32_t round = 1;; round++) {
        int worked = echo();

        if ((worked || round % ROUNDS_PER_MAILBOX == 0) && mailbox_shutdown_asked())
            shut_down();
    }
}
