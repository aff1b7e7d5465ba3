/*
 * Cases of priorities and masks.
 */
#include "nvic_tools.h"

/* -- priorities (B1.5.4) ----------------------------------------------------------------------------------------- */

static void pend_b(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    (void)values;
    pend(B);
}

static void pend_b_and_c(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    (void)values;
    SLOT(NVIC_ISPR, B) = BIT(B) | BIT(C);
    barrier();
}

void nvic_case_higher_preempts(uint32_t *values)
{
    (void)values;
    irq(A, 0x80, pend_b);
    irq(B, 0x40, 0);
    pend(A);
}

void nvic_case_same_does_not_preempt(uint32_t *values)
{
    (void)values;
    irq(A, 0x80, pend_b);
    irq(B, 0x80, 0);
    pend(A);
}

void nvic_case_lower_bits_are_not_there(uint32_t *values)
{
    irq(A, 0x8f, pend_b);
    irq(B, 0x81, 0);
    values[0] = REG8(NVIC_IPR + A);
    values[1] = REG32(NVIC_IPR + A);
    pend(A);
}

void nvic_case_subpriority_does_not_preempt(uint32_t *values)
{
    (void)values;
    REG32(SCB_AIRCR) = AIRCR_KEY | 5u << 8; /* bits 7:6 are the group */
    irq(A, 0x70, pend_b_and_c);
    irq(B, 0x60, 0);
    irq(C, 0x40, 0);
    pend(A);
}

void nvic_case_number_decides_among_equals(uint32_t *values)
{
    (void)values;
    irq(A, 0x80, 0);
    irq(B, 0x40, 0);
    irq(C, 0x80, 0);
    irq(D, 0x80, 0);
    mask();
    SLOT(NVIC_ISPR, A) = BIT(A) | BIT(B) | BIT(C) | BIT(D);
    unmask();
}

void nvic_case_priority_raised_while_active(uint32_t *values)
{
    (void)values;
    irq(A, 0x80, pend_b);
    irq(B, 0x80, 0);
    REG8(NVIC_IPR + B) = 0x70;
    pend(A);
}


/* -- masks (B1.4.3, B5.2.1) -------------------------------------------------------------------------------------- */

void nvic_case_cps_unmasks_at_once(uint32_t *values)
{
    irq(A, 0x80, 0);
    values[0] = nvic_unmask_cps(&SLOT(NVIC_ISPR, A), BIT(A));
}

void nvic_case_msr_unmasks_at_once(uint32_t *values)
{
    irq(A, 0x80, 0);
    values[0] = nvic_unmask_msr(&SLOT(NVIC_ISPR, A), BIT(A));
}

void nvic_case_basepri_unmasks_at_once(uint32_t *values)
{
    irq(A, 0x80, 0);
    values[0] = nvic_unmask_basepri(&SLOT(NVIC_ISPR, A), BIT(A), 0x60, 0xa0);
}

void nvic_case_faultmask_unmasks_at_once(uint32_t *values)
{
    irq(A, 0x00, 0);
    values[0] = nvic_unmask_faultmask(&SLOT(NVIC_ISPR, A), BIT(A));
}

void nvic_case_unmasking_in_an_it_block(uint32_t *values)
{
    irq(A, 0x80, 0);
    values[0] = nvic_unmask_in_block(&SLOT(NVIC_ISPR, A), BIT(A));
}

void nvic_case_pended_by_store(uint32_t *values)
{
    irq(A, 0x80, 0);
    values[0] = nvic_pend_now(&SLOT(NVIC_ISPR, A), BIT(A));
}

void nvic_case_basepri_lets_more_urgent_ones_through(uint32_t *values)
{
    irq(A, 0x40, 0);
    irq(B, 0x80, 0);
    __asm volatile("msr basepri, %0" : : "r"(0x80u));
    SLOT(NVIC_ISPR, A) = BIT(A) | BIT(B);
    barrier();
    values[0] = nvic_result->taken;
    values[1] = SLOT(NVIC_ISPR, A) & (BIT(A) | BIT(B));
    __asm volatile("msr basepri, %0" : : "r"(0u));
    values[2] = nvic_result->taken;
}

static void read_faultmask(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    uint32_t faultmask;

    __asm volatile("mrs %0, faultmask" : "=r"(faultmask));
    values[4]++;
    values[5] = faultmask;
}

void nvic_case_nmi_goes_before_faultmask(uint32_t *values)
{
    uint32_t faultmask;

    nvic_hooks[NMI] = read_faultmask;
    irq(A, 0x00, 0);
    __asm volatile("cpsid f");
    SLOT(NVIC_ISPR, A) = BIT(A);
    REG32(SCB_ICSR) = ICSR_NMIPENDSET;
    barrier();
    __asm volatile("mrs %0, faultmask" : "=r"(faultmask));
    values[0] = faultmask; /* the return from NMI leaves it (B1.5.8) */
    values[1] = nvic_result->taken;
    __asm volatile("cpsie f");
    values[2] = nvic_result->taken;
}

static void set_faultmask(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    (void)values;
    __asm volatile("cpsid f");
}

void nvic_case_return_clears_faultmask(uint32_t *values)
{
    uint32_t faultmask;

    irq(A, 0x80, set_faultmask);
    pend(A);
    __asm volatile("mrs %0, faultmask" : "=r"(faultmask));
    values[0] = faultmask;
}
