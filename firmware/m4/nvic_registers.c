/*
 * Cases of registers, of levels, and of frames that are chained.
 */
#include "nvic_tools.h"

/* -- registers (B3.2, B3.4) -------------------------------------------------------------------------------------- */

static void look_at_registers(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    pend(B);
    values[0] = SLOT(NVIC_ISER, A);
    values[1] = SLOT(NVIC_ISPR, A);
    values[2] = SLOT(NVIC_IABR, A);
    values[3] = REG32(SCB_ICSR);
    SLOT(NVIC_ICPR, B) = BIT(B);
    values[4] = SLOT(NVIC_ICPR, A);
    SLOT(NVIC_ICER, B) = BIT(B);
    values[5] = SLOT(NVIC_ICER, A);
}

void nvic_case_registers_in_a_handler(uint32_t *values)
{
    irq(A, 0x80, look_at_registers);
    irq(B, 0x80, 0);
    pend(A);
    values[6] = SLOT(NVIC_IABR, A);
    pend(B); /* disabled: stays pending */
    values[7] = SLOT(NVIC_ISPR, A);
    values[8] = REG32(SCB_ICSR);
    values[9] = REG32(NVIC_ICTR);
    REG32(NVIC_ISER + 16u) = 0xffffffffu;
    values[10] = REG32(NVIC_ISER + 16u);
    REG32(NVIC_ICER + 16u) = 0xffffffffu;
}

static void nested_base(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    values[0] = REG32(SCB_ICSR) & 0xfffu;
    pend(B);
}

static void nested_top(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    values[1] = REG32(SCB_ICSR) & 0xfffu;
}

void nvic_case_rettobase(uint32_t *values)
{
    irq(A, 0x80, nested_base);
    irq(B, 0x40, nested_top);
    pend(A);
    values[2] = REG32(SCB_ICSR) & 0xfffu;
}

void nvic_case_software_trigger(uint32_t *values)
{
    irq(A, 0x80, 0);
    REG32(NVIC_STIR) = A;
    barrier();
    values[0] = nvic_result->taken;
    REG32(NVIC_STIR) = 0x1ff; /* no such interrupt */
}

static void trigger_a(void)
{
    REG32(NVIC_STIR) = A;
}

void nvic_case_trigger_by_unprivileged(uint32_t *values)
{
    irq(A, 0x80, 0);
    nvic_hooks[VECTOR_SVCALL] = become_privileged;
    nvic_hooks[BUSFAULT] = 0;
    REG32(SCB_CCR) |= CCR_USERSETMPEND;
    values[0] = nvic_on_process_stack(3, (uint32_t)SAFE_STACK, trigger_a);
}

static void skip_store(struct nvic_frame *frame, uint32_t *values)
{
    values[1] = REG32(SCB_CFSR);
    values[2] = REG32(SCB_BFAR);
    REG32(SCB_CFSR) = values[1];
    frame->pc += *(const volatile uint16_t *)(uintptr_t)frame->pc >> 11 >= 0x1d ? 4u : 2u;
}

void nvic_case_unprivileged_is_kept_out(uint32_t *values)
{
    irq(A, 0x80, 0);
    nvic_hooks[VECTOR_SVCALL] = become_privileged;
    nvic_hooks[BUSFAULT] = skip_store;
    values[0] = nvic_on_process_stack(3, (uint32_t)SAFE_STACK, trigger_a);
}

void nvic_case_pendsv_and_systick_by_icsr(uint32_t *values)
{
    mask();
    REG32(SCB_ICSR) = SCB_ICSR_PENDSVSET | ICSR_PENDSTSET;
    values[0] = REG32(SCB_ICSR);
    REG32(SCB_ICSR) = ICSR_PENDSTCLR;
    values[1] = REG32(SCB_ICSR);
    REG32(SCB_ICSR) = ICSR_PENDSVCLR;
    values[2] = REG32(SCB_ICSR);
    REG32(SCB_ICSR) = SCB_ICSR_PENDSVSET | ICSR_PENDSTSET;
    unmask();
}

void nvic_case_identity(uint32_t *values)
{
    values[0] = REG32(SCB_CPUID);
    values[1] = REG32(ID_MMFR0);
    values[2] = REG32(ID_ISAR1);
    values[3] = REG32(MVFR0);
    values[4] = REG32(0xe000ed90u);
    values[5] = REG32(SYST_CALIB);
    values[6] = REG32(DBGMCU_IDCODE) & 0xfffu;
}

void nvic_case_debug_blocks_do_not_hang(uint32_t *values)
{
    REG32(DEMCR) = TRCENA;
    REG32(ITM_LAR) = 0xc5acce55u;
    REG32(ITM_TCR) = 1;
    REG32(ITM_TER) = 1;
    for (uint32_t i = 0; i < 4; i++) {
        while (REG32(ITM_STIM0) == 0)
            ;
        REG8(ITM_STIM0) = 'a';
    }
    values[0] = REG32(ITM_TER);
    values[1] = REG32(0xe0040004u); /* TPIU */
    values[2] = REG32(0xe000edf0u); /* DHCSR */
    values[3] = REG32(DWT_CTRL) >> 28;
}

/* -- lines (B3.4.1) ---------------------------------------------------------------------------------------------- */

static void clear_the_third_time(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    values[0]++;
    SLOT(NVIC_ICPR, EXTI0_IRQ) = BIT(EXTI0_IRQ);
    values[1] = SLOT(NVIC_ISPR, EXTI0_IRQ) & BIT(EXTI0_IRQ);
    if (values[0] == 3)
        REG32(EXTI_RPR1) = 1;
}

void nvic_case_level_stays_high(uint32_t *values)
{
    irq(EXTI0_IRQ, 0x80, clear_the_third_time);
    SLOT(NVIC_ICER, EXTI0_IRQ) = BIT(EXTI0_IRQ);
    REG32(EXTI_C2IMR1) = 1;
    REG32(EXTI_SWIER1) = 1;
    barrier();
    values[2] = SLOT(NVIC_ISPR, EXTI0_IRQ) & BIT(EXTI0_IRQ);
    SLOT(NVIC_ICPR, EXTI0_IRQ) = BIT(EXTI0_IRQ);
    values[3] = SLOT(NVIC_ISPR, EXTI0_IRQ) & BIT(EXTI0_IRQ);
    SLOT(NVIC_ISER, EXTI0_IRQ) = BIT(EXTI0_IRQ);
    barrier();
    values[4] = SLOT(NVIC_ISPR, EXTI0_IRQ) & BIT(EXTI0_IRQ);
    REG32(EXTI_C2IMR1) = 0;
}

/* -- lines that the core itself raises ------------------------------------------------------------------------------ */

static void clear_line(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    values[0]++;
    REG32(EXTI_RPR1) = 1;
}

static void line_of_software(void)
{
    irq(EXTI0_IRQ, 0x80, clear_line);
    REG32(EXTI_C2IMR1) = 1;
}

void nvic_case_own_store_is_late(uint32_t *values)
{
    (void)values;
    line_of_software();
    nvic_late(&REG32(EXTI_SWIER1), 1);
}

void nvic_case_own_store_in_an_it_block_is_late(uint32_t *values)
{
    (void)values;
    line_of_software();
    nvic_late_in_block(&REG32(EXTI_SWIER1), 1);
}

void nvic_case_store_behind_it_is_made(uint32_t *values)
{
    line_of_software();
    nvic_late_and_masked(&REG32(EXTI_SWIER1), 1, &REG32(EXTI_C2IMR1));
    values[1] = REG32(EXTI_C2IMR1);
}

void nvic_case_late_one_ends_a_wfi(uint32_t *values)
{
    (void)values;
    line_of_software();
    nvic_late_asleep(&REG32(EXTI_SWIER1), 1);
}

void nvic_case_late_one_pended_by_software(uint32_t *values)
{
    (void)values;
    line_of_software();
    nvic_late_and_pended(&REG32(EXTI_SWIER1), 1, &SLOT(NVIC_ISPR, EXTI0_IRQ), BIT(EXTI0_IRQ));
}

/* -- active bits (B3.2.13) ----------------------------------------------------------------------------------------- */

void nvic_case_active_bits_are_written(uint32_t *values)
{
    irq(A, 0x40, 0);
    irq(B, 0x80, 0);
    REG32(SCB_CCR) |= CCR_NONBASETHRDENA; /* handlers return to Thread mode although SVCall is active */
    REG8(SCB_SHPR2 + 3) = 0x60;
    REG32(SCB_SHCSR) |= SHCSR_SVCALLACT;
    values[0] = REG32(SCB_SHCSR) & SHCSR_SVCALLACT;
    values[1] = REG32(SCB_ICSR) & 0x1ffu;
    SLOT(NVIC_ISPR, B) = BIT(B);
    SLOT(NVIC_ISPR, A) = BIT(A);
    barrier();
    values[2] = nvic_result->taken; /* A alone, which is more urgent than SVCall */
    REG32(SCB_SHCSR) &= ~SHCSR_SVCALLACT;
    barrier();
    values[3] = nvic_result->taken;
    values[4] = REG32(SCB_SHCSR) & SHCSR_SVCALLACT;
}

static void forget_that_it_is_active(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    values[0] = REG32(SCB_SHCSR) & SHCSR_SVCALLACT;
    REG32(SCB_SHCSR) &= ~SHCSR_SVCALLACT;
    values[1] = REG32(SCB_SHCSR) & SHCSR_SVCALLACT;
    values[2] = REG32(SCB_ICSR) & 0x1ffu;
}

static void say_why(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    values[3] = REG32(SCB_CFSR);
    REG32(SCB_CFSR) = values[3];
}

void nvic_case_handler_that_is_not_active_returns(uint32_t *values)
{
    (void)values;
    nvic_hooks[VECTOR_SVCALL] = forget_that_it_is_active;
    nvic_hooks[USAGEFAULT] = say_why;
    __asm volatile("svc #0" ::: "memory");
}

/* -- frames (B1.5.6, B1.5.12) ------------------------------------------------------------------------------------ */

void nvic_case_tail_chaining(uint32_t *values)
{
    (void)values;
    irq(A, 0x40, 0);
    irq(B, 0x80, 0);
    mask();
    SLOT(NVIC_ISPR, A) = BIT(A) | BIT(B);
    unmask();
}

static void pend_on_process_stack(void)
{
    pend(A);
}

void nvic_case_interrupt_of_a_process(uint32_t *values)
{
    irq(A, 0x80, 0);
    nvic_hooks[VECTOR_SVCALL] = become_privileged;
    values[0] = nvic_on_process_stack(2, (uint32_t)SAFE_STACK, pend_on_process_stack);
}

static void pend_by_stir(void)
{
    REG32(NVIC_STIR) = A;
}

void nvic_case_interrupt_of_an_unprivileged_process(uint32_t *values)
{
    irq(A, 0x80, 0);
    nvic_hooks[VECTOR_SVCALL] = become_privileged;
    REG32(SCB_CCR) |= CCR_USERSETMPEND;
    values[0] = nvic_on_process_stack(3, (uint32_t)SAFE_STACK, pend_by_stir);
}

static void count_tick(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    values[0]++;
    REG32(SYST_CSR) = 0;
}

void nvic_case_tick_meets_svc(uint32_t *values)
{
    nvic_hooks[VECTOR_SYSTICK] = count_tick;
    REG32(SCB_SHPR3) = 0x20000000u;
    REG32(SCB_SHPR2) = 0x80000000u;
    for (uint32_t delay = 3; delay < 10; delay++) {
        uint32_t before = nvic_result->traced;

        nvic_tick_and_svc(&REG32(SYST_CSR), delay);
        barrier();
        for (uint32_t i = before; i < before + 4 && i < NVIC_TRACE; i++) /* the order of this round, two bits each */
            values[1] = values[1] << 1 | (nvic_result->trace[i] == VECTOR_SYSTICK);
    }
}
