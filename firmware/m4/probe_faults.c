/*
 * The fault probes: takes every exception of the Cortex-M4 that software can provoke, in every state that changes how
 * it is taken, and records what the handler sees. Judging that is the reader's business: see probe.h.
 */
#include "probe.h"

#include "report.h"
#include "stm32mp15.h"

#define SCB_ICSR 0xe000ed04u
#define SCB_AIRCR 0xe000ed0cu
#define SCB_CCR 0xe000ed14u
#define SCB_SHPR1 0xe000ed18u
#define SCB_SHPR2 0xe000ed1cu
#define AIRCR_KEY 0x05fa0000u
#define CCR_NONBASETHRDENA 1u
#define CCR_STKALIGN (1u << 9)

#define ALL_FAULTS (SCB_SHCSR_MEMFAULTENA | SCB_SHCSR_BUSFAULTENA | SCB_SHCSR_USGFAULTENA)
#define USAGE_HIGHER 0x00204040u
#define USAGE_SAME_GROUP 0x00405040u
#define ALL_SAME 0x00404040u
#define SVC_LOWER 0x80000000u

#define XPSR_T (1u << 24)
#define XPSR_IPSR 0x1ffu
#define XPSR_IT 0x0600fc00u
#define RETURN_TO_HANDLER 0xfffffff1u
#define RETURN_TO_THREAD 0xfffffff9u
#define RETURN_ILLEGAL 0xfffffff5u
#define SVCALL 11u

#define RAM_START 0x10000000u
#define RAM_END 0x10060000u
#define PROCESS_STACK 128u
#define MOST_EXCEPTIONS 8u

enum { ASIDE = 4 }; /* values from here on are the hooks' */

volatile uint32_t probe_resume;
volatile uint32_t probe_good_word = 0x900d900du;
volatile uint32_t probe_good_words[2];
uint32_t probe_process_stack[PROCESS_STACK] __attribute__((aligned(8)));

static const struct probe *running;
static volatile struct result *result;

extern volatile uint32_t cosim_vectors[];

int main(void);
uint32_t probe_exception(struct frame *frame, uint32_t number, uint32_t exc_return, uint32_t msp);

/* -- hooks ---------------------------------------------------------------------------------------------------- */

/* Retry the access at an address that works. */
static void repair(struct taken *taken, uint32_t *values)
{
    (void)values;
    if (taken->number == SVCALL)
        return;
    taken->frame->r1 = (uint32_t)&probe_good_word;
    taken->stay = 1;
}

/* The same; what the block stores and computes behind the faulting store must not be there yet. */
static void repair_store(struct taken *taken, uint32_t *values)
{
    values[ASIDE + 1] = ((volatile uint32_t *)values)[ASIDE];
    values[ASIDE + 2] = taken->frame->r2;
    taken->frame->r1 = (uint32_t)probe_good_words;
    taken->stay = 1;
}

/* A handler that clobbers every FP register that a procedure call may, and the FPSCR. */
static void use_fpu(struct taken *taken, uint32_t *values)
{
    uint32_t control, fpscr;

    (void)taken;
    __asm volatile("mrs %0, control" : "=r"(control));
    __asm volatile("vmrs %0, fpscr" : "=r"(fpscr));
    values[ASIDE] = control;
    values[ASIDE + 1] = fpscr;
    __asm volatile("vmov.f32 s0, #2.0\n\t"
                   "vmov.f32 s15, #3.0\n\t"
                   "vmul.f32 s1, s0, s15\n\t"
                   "vdiv.f32 s2, s0, s15\n\t"
                   "vmov.f32 s14, s2\n\t"
                   "vcmp.f32 s0, s15"
                   :
                   :
                   : "s0", "s1", "s2", "s14", "s15", "cc");
    __asm volatile("mrs %0, control" : "=r"(control));
    values[ASIDE + 2] = control;
}

static void read_inside(struct taken *taken, uint32_t *values)
{
    (void)values;
    if (taken->index == 0)
        probe_denied_read();
}

static void undefined_inside(struct taken *taken, uint32_t *values)
{
    (void)values;
    if (taken->index == 0)
        probe_undefined();
}

static void svc_inside(struct taken *taken, uint32_t *values)
{
    (void)values;
    if (taken->index == 0)
        probe_supervisor_call();
}

static void return_illegal(struct taken *taken, uint32_t *values)
{
    (void)values;
    taken->exc_return = taken->index == 0 ? RETURN_ILLEGAL : RETURN_TO_THREAD;
    taken->stay = 1;
}

static void return_to_handler(struct taken *taken, uint32_t *values)
{
    (void)values;
    taken->exc_return = taken->index == 0 ? RETURN_TO_HANDLER : RETURN_TO_THREAD;
    taken->stay = 1;
}

/* The inner handler returns to Thread mode although the SVC is still active. */
static void return_past_svc(struct taken *taken, uint32_t *values)
{
    (void)values;
    if (taken->index == 0)
        probe_denied_read();
    else if (taken->index == 1)
        taken->exc_return = RETURN_TO_THREAD;
    else
        taken->exc_return = RETURN_TO_HANDLER;
}

/* The same with a frame that looks like one of Thread mode. */
static void return_past_svc_forged(struct taken *taken, uint32_t *values)
{
    return_past_svc(taken, values);
    if (taken->index == 1) {
        taken->frame->pc = probe_resume;
        taken->frame->xpsr &= ~XPSR_IPSR;
        taken->stay = 1;
    } else if (taken->index == 2) {
        taken->frame->xpsr |= SVCALL;
    }
}

/* The vector of SVCall has lost its Thumb bit: end the SVC, whose EXC_RETURN is in the stacked LR. */
static void end_svc(struct taken *taken, uint32_t *values)
{
    (void)values;
    taken->frame->pc = (uint32_t)probe_return & ~1u;
    taken->frame->xpsr |= XPSR_T;
    taken->stay = 1;
}

static void set_faultmask(struct taken *taken, uint32_t *values)
{
    uint32_t mask;

    (void)taken;
    __asm volatile("cpsid f\n\tmrs %0, faultmask\n\t" : "=r"(mask));
    values[ASIDE] = mask;
}

static void new_process_frame(uint32_t pc)
{
    struct frame *frame = (struct frame *)(probe_process_stack + PROCESS_STACK - 8);

    *frame = (struct frame){.pc = pc, .xpsr = XPSR_T};
    __asm volatile("msr psp, %0" : : "r"(frame));
}

/* The process stack is unusable: give the thread another one, with a frame that goes on behind the probe. */
static void give_stack(struct taken *taken, uint32_t *values)
{
    uint32_t psp;

    if (taken->index == 0) {
        __asm volatile("mrs %0, psp" : "=r"(psp));
        values[ASIDE] = psp;
        new_process_frame(probe_resume);
    }
    taken->stay = 1;
}

/* The first handler loses the process stack, the second one gives a new one. */
static void lose_stack(struct taken *taken, uint32_t *values)
{
    (void)values;
    if (taken->index == 0)
        __asm volatile("msr psp, %0" : : "r"(0x70000100u));
    else
        new_process_frame(probe_resume);
    taken->stay = 1;
}

/* -- the probes ----------------------------------------------------------------------------------------------- */

#define PROBE(n) .name = #n, .run = probe_##n

static const struct probe probes[] = {
    {PROBE(read)},
    {PROBE(read_byte)},
    {PROBE(write)},
    {PROBE(write_double)},
    {PROBE(read_nothing)},
    {PROBE(write_nothing)},
    {PROBE(read_wide)},
    {PROBE(write_wide)},
    {PROBE(read_private)},
    {PROBE(breakpoint)},
    {PROBE(undefined_16)},
    {PROBE(undefined_32)},
    {PROBE(fetch_denied)},
    {PROBE(fetch_nothing)},
    {PROBE(fetch_never_execute)},
    {PROBE(fetch_private)},
    {PROBE(exc_return_in_thread)},
    {PROBE(even_address)},
    {PROBE(svc)},
    {PROBE(svc_primask)},
    {PROBE(svc_basepri_same)},
    {PROBE(svc_basepri_below)},
    {PROBE(read_primask)},
    {PROBE(read_basepri_same)},
    {PROBE(read_basepri_below)},
    {PROBE(fp_unused), .hook = use_fpu},
    {PROBE(fp_svc), .hook = use_fpu},
    {PROBE(fp_fault), .hook = use_fpu},
    {PROBE(it_ittt), .hook = repair},
    {PROBE(it_itete), .hook = repair},
    {PROBE(it_first), .hook = repair},
    {PROBE(it_last), .hook = repair},
    {PROBE(it_skipped)},
    {PROBE(it_store), .hook = repair_store},
    {PROBE(it_store_wide), .hook = repair_store},
    {PROBE(it_store_nothing), .hook = repair_store},
    {PROBE(it_svc)},
    {PROBE(stack_aligned)},
    {PROBE(stack_misaligned)},
    {PROBE(stack_misaligned_allowed), .misaligned = 1},
    {PROBE(process_svc)},
    {PROBE(process_fault)},
    {PROBE(nested_read), .hook = read_inside},
    {PROBE(nested_read_nonbase), .hook = read_inside, .nonbase = 1},
    {PROBE(nested_svc), .hook = svc_inside},
    {PROBE(read_in_read), .hook = read_inside},
    {PROBE(undefined_in_read), .hook = undefined_inside},
    {PROBE(undefined_in_read_higher), .hook = undefined_inside, .shpr1 = USAGE_HIGHER},
    {PROBE(undefined_in_read_grouped), .hook = undefined_inside, .shpr1 = USAGE_SAME_GROUP, .prigroup = 5},
    {PROBE(read_disabled), .disabled = SCB_SHCSR_BUSFAULTENA},
    {PROBE(faultmask_set), .hook = set_faultmask},
    {PROBE(faultmask_in_hardfault), .hook = set_faultmask, .disabled = SCB_SHCSR_BUSFAULTENA},
    {PROBE(return_illegal), .hook = return_illegal},
    {PROBE(return_illegal_disabled), .hook = return_illegal, .disabled = SCB_SHCSR_USGFAULTENA},
    {PROBE(return_to_handler_alone), .hook = return_to_handler},
    {PROBE(return_to_thread_nested), .hook = return_past_svc},
    {PROBE(return_to_thread_forged), .hook = return_past_svc_forged},
    {PROBE(vector_even), .hook = end_svc, .even_vector = 1},
    {PROBE(stacking_error_svc), .hook = give_stack},
    {PROBE(stacking_error_denied), .hook = give_stack},
    {PROBE(stacking_error_fault), .hook = give_stack},
    {PROBE(stacking_error_late), .hook = give_stack, .shpr1 = USAGE_HIGHER},
    {PROBE(unstacking_error), .hook = lose_stack},
};

#define PROBES (sizeof probes / sizeof probes[0])

volatile struct result probe_results[PROBES];
const uint32_t probe_count = PROBES;

static uint32_t in_memory(uint32_t frame)
{
    return frame >= RAM_START && frame <= RAM_END - sizeof(struct frame);
}

static void record(volatile struct record *r, const struct frame *frame, uint32_t number)
{
    r->number = number;
    r->cfsr = REG32(SCB_CFSR);
    r->hfsr = REG32(SCB_HFSR);
    r->mmfar = REG32(SCB_MMFAR);
    r->bfar = REG32(SCB_BFAR);
    r->shcsr = REG32(SCB_SHCSR);
    r->icsr = REG32(SCB_ICSR);
    r->frame = (uint32_t)frame;
    if (in_memory((uint32_t)frame)) {
        r->pc = frame->pc;
        r->xpsr = frame->xpsr;
    }
}

/* A probe that faults without end would run over the results with its stack. */
static void give_up(void)
{
    report_state(COPRO_STATE_CRASH);
    for (;;)
        __asm volatile("wfi");
}

/* Called by the exception entry; returns the value that the handler returns with. */
uint32_t probe_exception(struct frame *frame, uint32_t number, uint32_t exc_return, uint32_t msp)
{
    struct taken taken = {.index = result->count++, .number = number, .exc_return = exc_return, .frame = frame};
    uint32_t resume = probe_resume;

    if (taken.index == MOST_EXCEPTIONS)
        give_up();
    if (taken.index < PROBE_RECORDS) {
        volatile struct record *r = &result->records[taken.index];

        record(r, frame, number);
        r->exc_return = exc_return;
        r->msp = msp;
    }
    REG32(SCB_CFSR) = REG32(SCB_CFSR); /* write one to clear */
    REG32(SCB_HFSR) = REG32(SCB_HFSR);
    if (running->hook)
        running->hook(&taken, (uint32_t *)result->values);
    if (!taken.stay && resume != 0 && number != SVCALL && in_memory((uint32_t)frame)) {
        frame->pc = resume;
        frame->xpsr = (frame->xpsr & ~XPSR_IT) | XPSR_T;
    }
    return taken.exc_return;
}

static void prepare(const struct probe *probe)
{
    REG32(SCB_CFSR) = REG32(SCB_CFSR);
    REG32(SCB_HFSR) = REG32(SCB_HFSR);
    REG32(SCB_MMFAR) = 0;
    REG32(SCB_BFAR) = 0;
    REG32(SCB_SHCSR) = ALL_FAULTS & ~probe->disabled;
    REG32(SCB_SHPR1) = probe->shpr1 ? probe->shpr1 : ALL_SAME;
    REG32(SCB_SHPR2) = SVC_LOWER;
    REG32(SCB_AIRCR) = AIRCR_KEY | probe->prigroup << 8;
    REG32(SCB_CCR) = (probe->misaligned ? 0 : CCR_STKALIGN) | (probe->nonbase ? CCR_NONBASETHRDENA : 0);
    if (probe->even_vector)
        cosim_vectors[SVCALL] &= ~1u;
    __asm volatile("msr control, %0\n\tdsb\n\tisb" : : "r"(0));
    probe_resume = 0;
}

int main(void)
{
    for (uint32_t i = 0; i < PROBES; i++) {
        running = &probes[i];
        result = &probe_results[i];
        prepare(running);
        running->run((uint32_t *)result->values);
        result->finished = 1;
        cosim_vectors[SVCALL] |= 1u;
    }
    report_state(COPRO_STATE_RUN);
    for (;;)
        __asm volatile("wfi");
}
