/*
 * Cases of the FP context, of divisions by zero, and of stacks that the MPU guards.
 */
#include "nvic_tools.h"

#define SENTINEL 0x5e5e5e5eu

static uint32_t patterns[32];
static uint32_t saved[16];

/* -- floating point (B1.5.7) ------------------------------------------------------------------------------------- */

static void look_at_lazy_frame(struct nvic_frame *frame, uint32_t *values)
{
    values[0] = REG32(FPCCR);
    values[1] = REG32(FPCAR) - (uint32_t)frame;
    values[2] = frame->s[0];
    nvic_use_fpu();
    values[3] = REG32(FPCCR) & FPCCR_LSPACT;
    values[4] = frame->s[0];
    values[5] = frame->s[15];
    values[6] = frame->fpscr;
}

static __attribute__((noinline)) void fill_below_stack(void)
{
    volatile uint32_t place[64];

    for (uint32_t i = 0; i < 64; i++)
        place[i] = SENTINEL;
    (void)place[0];
}

static void floating_case(uint32_t *values, nvic_hook hook, uint32_t fpccr)
{
    for (uint32_t i = 0; i < 32; i++)
        patterns[i] = 0x3f800000u + i;
    irq(A, 0x80, hook);
    REG32(FPCCR) = fpccr;
    fill_below_stack();
    nvic_load_floating(patterns);
    pend(A);
    values[7] = nvic_compare_floating(patterns);
    REG32(FPCCR) = FPCCR_ASPEN | FPCCR_LSPEN;
    __asm volatile("msr control, %0\n\tisb" : : "r"(0));
}

void nvic_case_lazy_frame_is_written_at_first_use(uint32_t *values)
{
    floating_case(values, look_at_lazy_frame, FPCCR_ASPEN | FPCCR_LSPEN);
}

static void look_at_fpccr(struct nvic_frame *frame, uint32_t *values)
{
    values[0] = REG32(FPCCR);
    values[1] = REG32(FPCAR) - (uint32_t)frame;
    values[2] = frame->s[0];
}

void nvic_case_lazy_frame_is_never_written_without_use(uint32_t *values)
{
    floating_case(values, look_at_fpccr, FPCCR_ASPEN | FPCCR_LSPEN);
    values[3] = REG32(FPCCR) & FPCCR_LSPACT;
}

void nvic_case_frame_is_written_at_once_without_lspen(uint32_t *values)
{
    floating_case(values, look_at_fpccr, FPCCR_ASPEN);
}

static void save_like_an_rtos(struct nvic_frame *frame, uint32_t *values)
{
    values[0] = REG32(FPCCR) & FPCCR_LSPACT;
    nvic_use_fpu_in_block(saved);
    values[1] = REG32(FPCCR) & FPCCR_LSPACT;
    values[2] = frame->s[0];
    values[3] = saved[0];
    values[4] = saved[15];
}

void nvic_case_first_use_in_an_it_block(uint32_t *values)
{
    floating_case(values, save_like_an_rtos, FPCCR_ASPEN | FPCCR_LSPEN);
}

static void nest_floating(struct nvic_frame *frame, uint32_t *values)
{
    pend(B);
    values[0] = REG32(FPCCR) & FPCCR_LSPACT;
    values[1] = frame->s[0];
}

static void use_floating(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    (void)values;
    nvic_use_fpu();
}

void nvic_case_inner_handler_writes_the_outer_frame(uint32_t *values)
{
    irq(B, 0x40, use_floating);
    floating_case(values, nest_floating, FPCCR_ASPEN | FPCCR_LSPEN);
}

static void read_fpscr(struct nvic_frame *frame, uint32_t *values)
{
    uint32_t fpscr;

    (void)frame;
    __asm volatile("vmrs %0, fpscr" : "=r"(fpscr));
    values[0] = fpscr;
}

void nvic_case_new_context_has_fpdscr(uint32_t *values)
{
    REG32(FPDSCR) = 0x02400000u;
    floating_case(values, read_fpscr, FPCCR_ASPEN | FPCCR_LSPEN);
    REG32(FPDSCR) = 0;
}

static void give_back_the_fpu(struct nvic_frame *frame, uint32_t *values)
{
    values[0] = REG32(SCB_CFSR);
    values[1] = frame->pc;
    REG32(SCB_CFSR) = values[0];
    REG32(SCB_CPACR) = 0xfu << 20;
}

void nvic_case_fpu_without_access(uint32_t *values)
{
    (void)values;
    nvic_hooks[USAGEFAULT] = give_back_the_fpu;
    REG32(SCB_CPACR) = 0;
    nvic_use_fpu();
}

void nvic_case_fpu_for_privileged_only(uint32_t *values)
{
    nvic_hooks[USAGEFAULT] = give_back_the_fpu;
    nvic_hooks[VECTOR_SVCALL] = become_privileged;
    REG32(SCB_CPACR) = 5u << 20;
    nvic_use_fpu();
    values[2] = nvic_result->taken;
    nvic_on_process_stack(3, (uint32_t)SAFE_STACK, nvic_use_fpu);
    __asm volatile("msr control, %0\n\tisb" : : "r"(0));
}

static void note_usage_fault(struct nvic_frame *frame, uint32_t *values)
{
    values[0] = REG32(SCB_CFSR);
    values[1] = frame->pc;
    REG32(SCB_CFSR) = values[0];
    step_over(frame, values);
}

void nvic_case_coprocessor_that_is_not_there(uint32_t *values)
{
    (void)values;
    nvic_hooks[USAGEFAULT] = note_usage_fault;
    nvic_other_coprocessor();
}

/* -- division by zero (B3.2.8) ----------------------------------------------------------------------------------- */

void nvic_case_division_by_zero_traps(uint32_t *values)
{
    nvic_hooks[USAGEFAULT] = note_usage_fault;
    REG32(SCB_CCR) |= CCR_DIV_0_TRP;
    values[2] = nvic_divide(42, 6);
    values[3] = nvic_result->taken;
    values[4] = nvic_divide(42, 0);
}

void nvic_case_division_by_zero_without_trap(uint32_t *values)
{
    values[0] = nvic_divide(42, 0);
    values[1] = nvic_divide_in_block(42, 0);
}

static void repair_divisor(struct nvic_frame *frame, uint32_t *values)
{
    values[0] = REG32(SCB_CFSR);
    values[1] = frame->pc;
    values[2] = frame->r2;
    REG32(SCB_CFSR) = values[0];
    frame->r1 = 7;
}

void nvic_case_division_by_zero_in_an_it_block(uint32_t *values)
{
    nvic_hooks[USAGEFAULT] = repair_divisor;
    REG32(SCB_CCR) |= CCR_DIV_0_TRP;
    values[3] = nvic_divide_in_block(42, 0);
}

/* -- MPU and stacks (B3.5, B1.5.11) ------------------------------------------------------------------------------ */

static void guard_process_stack(void)
{
    REG32(MPU_RBAR) = (uint32_t)nvic_process_stack | 16u | 0u;
    REG32(MPU_RASR) = 1u << 28 | 7u << 1 | 1u; /* 256 bytes, no access, execute never */
    REG32(MPU_CTRL) = 5;
    barrier();
}

static void leave_guarded_stack(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    values[0] = REG32(SCB_CFSR);
    REG32(SCB_CFSR) = values[0];
    REG32(MPU_CTRL) = 0;
    barrier();
}

/* The frame was not written; this one goes on behind the SVC. */
static void make_frame(struct nvic_frame *frame, uint32_t *values)
{
    leave_guarded_stack(frame, values);
    frame->pc = (uint32_t)nvic_svc_on_stack_at & ~1u;
    frame->xpsr = 1u << 24;
}

static void svc_in_guard(void)
{
    nvic_svc_on_stack(nvic_process_stack + 63);
}

void nvic_case_stacking_into_a_guard(uint32_t *values)
{
    nvic_hooks[MEMMANAGE] = make_frame;
    nvic_hooks[VECTOR_SVCALL] = become_privileged;
    guard_process_stack();
    values[1] = nvic_on_process_stack(2, (uint32_t)SAFE_STACK, svc_in_guard);
}

static void do_nothing(void)
{
}

static void close_stack(struct nvic_frame *frame, uint32_t *values)
{
    (void)frame;
    (void)values;
    if (nvic_result->taken == 1)
        guard_process_stack();
}

void nvic_case_unstacking_from_a_guard(uint32_t *values)
{
    nvic_hooks[MEMMANAGE] = leave_guarded_stack;
    nvic_hooks[VECTOR_SVCALL] = close_stack;
    values[1] = nvic_on_process_stack(2, (uint32_t)(nvic_process_stack + 56), do_nothing);
}
