/*
 * Interrupts of the A7 client: sleep until the GIC brings one.
 */
#ifndef COSIM_A7_INTERRUPT_H
#define COSIM_A7_INTERRUPT_H

#include <stdint.h>

#define INTERRUPT_EDGE (1u << 0) /* the source pulses its line: configure it as edge-triggered */

struct interrupt_wait {
    uint32_t id;       /* what the caller waits for; an identifier that the GIC does not have: only the timeout */
    uint32_t last;     /* the last identifier that GICC_IAR gave, 1023 if none came */
    uint32_t taken;    /* interrupts taken */
    uint32_t spurious; /* those of them for which GICC_IAR gave 1020 to 1023 */
    uint32_t ticks;    /* of the generic timer, from the call to the return */
};

/*
 * Sleep in WFI until interrupt `wait->id` was acknowledged, or `microseconds` of the generic timer went by (0: no
 * limit). The GIC and the timer are off again afterwards. Returns 1 if it came, 0 if the time was over.
 */
int interrupt_sleep(struct interrupt_wait *wait, uint32_t microseconds, uint32_t flags);

#endif
