/*
 * Ends in one of the ways in which a Cortex-M4 cannot go on by itself. It reports that it is ready, waits, and then
 * does what `probe_mode` says, which a test sets in the ELF file before it is signed.
 */
#include <stdint.h>

#include "report.h"
#include "stm32mp15.h"

#define SCB_AIRCR 0xe000ed0cu
#define AIRCR_SYSRESETREQ 0x05fa0004u
#define DENIED 0x2ffc0000u
#define NOTHING 0x70000000u
#define WAIT 10000u

enum mode {
    FAULT_IN_HARDFAULT,
    SVC_IN_HARDFAULT,
    FAULT_UNDER_FAULTMASK,
    NO_VECTORS,
    NO_STACK,
    RESET_REQUEST,
};

/* Volatile, so that the code reads what the test put there. */
const volatile uint32_t probe_mode = FAULT_IN_HARDFAULT;

int main(void);
void fault_handler(void);

/* Every fault arrives here as a HardFault, because none is enabled on its own. */
void fault_handler(void)
{
    if (probe_mode == SVC_IN_HARDFAULT)
        __asm volatile("svc #0");
    else
        (void)REG32(DENIED);
    report_state(COPRO_STATE_CRASH); /* never reached */
}

int main(void)
{
    report_state(COPRO_STATE_RUN);
    for (uint32_t i = WAIT; i != 0; i--)
        __asm volatile("nop");
    switch (probe_mode) {
    case FAULT_UNDER_FAULTMASK:
        __asm volatile("cpsid f");
        break;
    case NO_VECTORS:
        REG32(SCB_VTOR) = NOTHING;
        break;
    case NO_STACK:
        __asm volatile("msr msp, %0" : : "r"(NOTHING + 0x100u));
        break;
    case RESET_REQUEST:
        REG32(SCB_AIRCR) = AIRCR_SYSRESETREQ;
        break;
    default:
        break;
    }
    (void)REG32(DENIED);
    report_state(COPRO_STATE_CRASH); /* never reached */
    for (;;)
        __asm volatile("wfi");
}
