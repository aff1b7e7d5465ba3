/*
 * A victim of its watchdog: it starts WWDG1, reports that it runs, refreshes a few times, and then forgets to. The
 * early interrupt still gets through and leaves a line in the trace buffer, which must outlive the reset.
 */
#include <stdint.h>

#include "faults.h"
#include "report.h"
#include "stm32mp15.h"
#include "vectors.h"

#define RCC_MC_APB1ENSETR_WWDG1EN (1u << 28)
#define WWDG1_CR 0x4000a000u
#define WWDG1_CFR 0x4000a004u
#define WWDG1_SR 0x4000a008u
#define WWDG_CR_WDGA (1u << 7)
#define WWDG_CFR_EWI (1u << 9)
#define WWDG_CFR_NO_WINDOW 0x7fu
#define WWDG_FULL 0x7fu
#define WWDG1_IRQ 0u

#define REFRESHES 4u
#define ROUNDS_BETWEEN 50000u

/* Refreshes so far, and early interrupts. */
volatile uint32_t cosim_counter;
volatile uint32_t watchdog_warned;

int main(void);

static void warn(void)
{
    REG32(WWDG1_SR) = 0;
    watchdog_warned++;
    trace_text("watchdog: nobody refreshed it\n");
}

int main(void)
{
    faults_enable();
    report_init();
    vectors_init();
    vectors_enable_irq(WWDG1_IRQ, warn, 0);
    REG32(RCC_MC_APB1ENSETR) = RCC_MC_APB1ENSETR_WWDG1EN;
    REG32(WWDG1_CFR) = WWDG_CFR_EWI | WWDG_CFR_NO_WINDOW;
    REG32(WWDG1_CR) = WWDG_CR_WDGA | WWDG_FULL;
    report_state(COPRO_STATE_RUN);
    while (cosim_counter < REFRESHES) {
        for (uint32_t i = ROUNDS_BETWEEN; i != 0; i--)
            __asm volatile("nop");
        REG32(WWDG1_CR) = WWDG_CR_WDGA | WWDG_FULL;
        cosim_counter++;
    }
    for (;;)
        __asm volatile("nop");
}
