/*
 * Cases of SysTick, of the cycle counter, and of sleep.
 */
#include "nvic_tools.h"

/* -- SysTick (B3.3) ---------------------------------------------------------------------------------------------- */

void nvic_case_systick_counts(uint32_t *values)
{
    tick(999, 4);
    values[0] = REG32(SYST_CVR);
    REG32(SYST_CSR) = 5;
    values[1] = REG32(SYST_CVR);
    wait(10);
    values[2] = REG32(SYST_CVR) < values[1];
    values[3] = REG32(SYST_CSR);
    wait(1000);
    values[4] = REG32(SYST_CSR);
    values[5] = REG32(SYST_CSR);
    wait(1000);
    REG32(SYST_CVR) = 77;
    values[6] = REG32(SYST_CSR);
    REG32(SYST_CSR) = 0;
    values[7] = REG32(SYST_CVR);
    wait(100);
    values[8] = REG32(SYST_CVR);
    values[9] = REG32(SYST_RVR);
}

static void note_cycles(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    uint32_t now = REG32(DWT_CYCCNT);

    if (values[0] < 4)
        values[1 + values[0]] = now;
    if (++values[0] == 4)
        REG32(SYST_CSR) = 0;
}

static void cycles_on(void)
{
    REG32(DEMCR) = TRCENA;
    REG32(DWT_CYCCNT) = 0;
    REG32(DWT_CTRL) = 1;
}

void nvic_case_systick_period(uint32_t *values)
{
    nvic_hooks[VECTOR_SYSTICK] = note_cycles;
    cycles_on();
    tick(999, 7);
    while (((volatile uint32_t *)values)[0] < 4)
        ;
}

void nvic_case_reference_clock_period(uint32_t *values)
{
    nvic_hooks[VECTOR_SYSTICK] = note_cycles;
    cycles_on();
    tick(99, 3);
    while (((volatile uint32_t *)values)[0] < 4)
        ;
}

void nvic_case_one_shot(uint32_t *values)
{
    nvic_hooks[VECTOR_SYSTICK] = 0;
    tick(200, 7);
    (void)REG32(SYST_CVR);
    REG32(SYST_RVR) = 0;
    wait(2000);
    values[0] = REG32(SYST_CVR);
    values[1] = nvic_result->taken;
    REG32(SYST_CSR) = 0;
}

void nvic_case_cycle_counter(uint32_t *values)
{
    cycles_on();
    values[0] = REG32(DWT_CYCCNT);
    values[1] = REG32(DWT_CYCCNT);
    REG32(DWT_CTRL) = 0;
    values[2] = REG32(DWT_CYCCNT);
    wait(10);
    values[3] = REG32(DWT_CYCCNT);
    REG32(DWT_CTRL) = 1;
    REG32(DEMCR) = 0;
    values[4] = REG32(DWT_CYCCNT);
    wait(10);
    values[5] = REG32(DWT_CYCCNT);
    REG32(DEMCR) = TRCENA;
    REG32(DWT_CYCCNT) = 0xfffffff0u;
    wait(20);
    values[6] = REG32(DWT_CYCCNT) < 0x1000u;
}

/* -- sleep (B1.5.18, B1.5.19) ------------------------------------------------------------------------------------ */

void nvic_case_wfi_wakes_under_primask(uint32_t *values)
{
    nvic_hooks[VECTOR_SYSTICK] = stop_tick;
    mask();
    tick(20000, 7);
    cycles_on();
    wfi();
    values[0] = REG32(DWT_CYCCNT) < 100; /* asleep, nothing is executed */
    values[1] = nvic_result->taken;
    values[2] = REG32(SCB_ICSR) >> 26 & 1u;
    values[3] = REG32(SYST_CVR) > 19900u; /* it was reloaded a moment ago */
    unmask();
    values[4] = nvic_result->taken;
}

void nvic_case_wfi_takes_the_interrupt(uint32_t *values)
{
    nvic_hooks[VECTOR_SYSTICK] = stop_tick;
    tick(20000, 7);
    wfi();
    values[0] = nvic_result->taken;
}

void nvic_case_wfi_goes_on_when_something_pends(uint32_t *values)
{
    irq(A, 0x80, 0);
    mask();
    pend(A);
    wfi();
    values[0] = nvic_result->taken;
    unmask();
    values[1] = nvic_result->taken;
}

void nvic_case_wfi_disregards_what_basepri_holds_back(uint32_t *values)
{
    irq(A, 0x80, 0);
    nvic_hooks[VECTOR_SYSTICK] = stop_tick;
    REG32(SCB_SHPR3) = 0x20000000u;
    __asm volatile("msr basepri, %0" : : "r"(0x80u));
    pend(A);
    tick(5000, 7);
    wfi();
    values[0] = nvic_result->taken;
    values[1] = nvic_result->seen[0].number;
    __asm volatile("msr basepri, %0" : : "r"(0u));
}

void nvic_case_wfe_uses_the_event_up(uint32_t *values)
{
    nvic_hooks[VECTOR_SYSTICK] = stop_tick;
    __asm volatile("sev");
    wfe();
    values[0] = nvic_result->taken;
    tick(5000, 7);
    wfe();
    values[1] = nvic_result->taken;
    __asm volatile("sev.w");
    __asm volatile("wfe.w");
    values[2] = nvic_result->taken;
}

void nvic_case_sevonpend_wakes_from_wfe(uint32_t *values)
{
    REG32(SCB_SCR) = SCR_SEVONPEND;
    mask();
    __asm volatile("sev");
    wfe(); /* the event register is clear now, whatever it was */
    tick(5000, 7);
    wfe();
    values[0] = nvic_result->taken;
    values[1] = REG32(SCB_ICSR) >> 26 & 1u;
    REG32(SYST_CSR) = 0;
    REG32(SCB_ICSR) = ICSR_PENDSTCLR;
    unmask();
}

static void three_then_awake(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    if (++values[0] == 3) {
        REG32(SCB_SCR) = 0;
        REG32(SYST_CSR) = 0;
    }
}

void nvic_case_sleep_on_exit(uint32_t *values)
{
    nvic_hooks[VECTOR_SYSTICK] = three_then_awake;
    REG32(SCB_SCR) = SCR_SLEEPONEXIT | 4u; /* SLEEPDEEP as well */
    tick(3000, 7);
    wfi();
    values[1] = values[0];
}
