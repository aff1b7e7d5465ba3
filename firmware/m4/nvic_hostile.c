/*
 * Interrupts that never end well: after it reported that it is ready, the program does what `nvic_mode` says, which a
 * test sets in the ELF file before it is signed. The main loop counts its rounds.
 */
#include <stdint.h>

#include "report.h"
#include "stm32mp15.h"
#include "vectors.h"

#define SYST_CSR 0xe000e010u
#define SYST_RVR 0xe000e014u
#define SYST_CVR 0xe000e018u
#define EXTI_SWIER1 0x5000d008u
#define EXTI_C2IMR1 0x5000d0c0u
#define NOTHING 0x70000000u
#define EXTI0_IRQ 6u

enum mode {
    FASTEST_TICK,
    LEVEL_STAYS_HIGH,
    HANDLER_FAULTS,
    HANDLER_IS_NOWHERE,
    NO_VECTORS,
    STACK_RUNS_OUT,
    PENDS_ITSELF,
    CALLS_WITHOUT_END,
};

const volatile uint32_t nvic_mode = FASTEST_TICK;
volatile uint32_t nvic_rounds;
volatile uint32_t nvic_handled;

int main(void);
void fault_handler(void);

/* Faults are not enabled on their own: a HardFault, which ends in lockup at the second fault. */
void fault_handler(void)
{
    report_state(COPRO_STATE_CRASH);
    (void)REG32(NOTHING);
}

static void handler(void)
{
    nvic_handled++;
    if (nvic_mode == HANDLER_FAULTS)
        (void)REG32(NOTHING);
    else if (nvic_mode == PENDS_ITSELF)
        REG32(NVIC_STIR) = EXTI0_IRQ;
}

/* The stack pointer goes down by itself, so that some frame no longer fits. */
static void __attribute__((naked)) eat_stack(void)
{
    __asm volatile("sub sp, sp, #0x1000\n\tldr r0, =0xe000ef00\n\tmovs r1, #7\n\tstr r1, [r0]\n\tdsb\n\tb .");
}

static void level(void (*isr)(void))
{
    vectors_enable_irq(EXTI0_IRQ, isr, 0x80);
    REG32(EXTI_C2IMR1) = 1;
    REG32(EXTI_SWIER1) = 1;
}

static void tick(uint32_t reload)
{
    REG32(SYST_RVR) = reload;
    REG32(SYST_CVR) = 0;
    REG32(SYST_CSR) = 7;
}

int main(void)
{
    report_state(COPRO_STATE_RUN);
    vectors_init();
    vectors_set(VECTOR_SYSTICK, handler);
    switch (nvic_mode) {
    case FASTEST_TICK:
        tick(1);
        break;
    case CALLS_WITHOUT_END:
        vectors_set(VECTOR_SVCALL, handler);
        for (;;)
            __asm volatile("svc #0");
    case HANDLER_IS_NOWHERE:
        vectors_enable_irq(EXTI0_IRQ, (void (*)(void))(NOTHING | 1u), 0x80);
        REG32(NVIC_STIR) = EXTI0_IRQ;
        break;
    case NO_VECTORS:
        REG32(SCB_VTOR) = NOTHING;
        tick(100);
        break;
    case STACK_RUNS_OUT:
        vectors_enable_irq(EXTI0_IRQ, eat_stack, 0x80);
        vectors_enable_irq(EXTI0_IRQ + 1u, eat_stack, 0x40);
        __asm volatile("msr msp, %0" : : "r"(0x00000480u));
        REG32(NVIC_STIR) = EXTI0_IRQ;
        break;
    default:
        level(handler);
        break;
    }
    for (;;)
        nvic_rounds++;
}
