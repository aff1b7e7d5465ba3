/*
 * The M4's side of the IPCC: ring the A7, take its rings, see its wish to shut down. Polled, no interrupts.
 */
#ifndef COSIM_MAILBOX_H
#define COSIM_MAILBOX_H

#include <stdint.h>

#define MAILBOX_VQ0 0u
#define MAILBOX_VQ1 1u
#define MAILBOX_SHUTDOWN 2u

/* Switch the clock of the IPCC on. */
void mailbox_init(void);

/* Ring a channel. One that the A7 has not taken yet needs no second ring. */
void mailbox_ring(uint32_t channel);

/* Take the rings of the virtqueues; whether the A7 has asked to shut down (which is not taken yet). */
int mailbox_shutdown_asked(void);

/* Tell the A7 that its wish to shut down is met. */
void mailbox_shutdown_done(void);

#endif
