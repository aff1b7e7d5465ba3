/*
 * Exceptions and interrupts of the Cortex-M4, case by case, each in the state that its section of the ARMv7-M manual is
 * about: the table of cases, and what every handler records. What must come of it is the reader's business: see
 * nvic_cases.h.
 */
#include "nvic_tools.h"

#include "report.h"

nvic_hook nvic_hooks[16 + 32];
volatile struct nvic_result *nvic_result;
uint32_t nvic_process_stack[PROCESS_STACK_WORDS] __attribute__((aligned(256)));

int main(void);
void fault_handler(void);
void nvic_handle(struct nvic_frame *frame, uint32_t number, uint32_t exc_return, uint32_t msp);

/* No exception gets here: all vectors are replaced before the first case. */
void fault_handler(void)
{
    report_state(COPRO_STATE_CRASH);
    for (;;)
        ;
}

static void trace(uint32_t what)
{
    if (nvic_result->traced < NVIC_TRACE)
        nvic_result->trace[nvic_result->traced] = (uint16_t)what;
    nvic_result->traced++;
}

void nvic_handle(struct nvic_frame *frame, uint32_t number, uint32_t exc_return, uint32_t msp)
{
    if (nvic_result->taken < NVIC_SEEN) {
        volatile struct nvic_seen *seen = &nvic_result->seen[nvic_result->taken];
        uint32_t control;

        __asm volatile("mrs %0, control" : "=r"(control));
        *seen = (struct nvic_seen){number, exc_return, (uint32_t)frame, msp, 0, 0, REG32(SCB_ICSR), control};
        if (number != MEMMANAGE) { /* whose frame may lie where nothing can be read */
            seen->pc = frame->pc;
            seen->xpsr = frame->xpsr;
        }
    }
    nvic_result->taken++;
    trace(number);
    if (nvic_hooks[number])
        nvic_hooks[number](frame, (uint32_t *)nvic_result->values);
    trace(number | TRACE_RETURN);
}

#define CASE(name) {#name, nvic_case_##name},

static const struct nvic_case cases[] = {NVIC_CASES(CASE)};

#define CASES (sizeof cases / sizeof cases[0])

volatile struct nvic_result nvic_results[CASES];
const uint32_t nvic_count = CASES;

static void prepare(void)
{
    for (uint32_t i = 0; i < sizeof nvic_hooks / sizeof nvic_hooks[0]; i++)
        nvic_hooks[i] = 0;
    for (uint32_t i = 0; i < 5; i++) {
        REG32(NVIC_ICER + 4 * i) = 0xffffffffu;
        REG32(NVIC_ICPR + 4 * i) = 0xffffffffu;
    }
    REG32(SYST_CSR) = 0;
    REG32(SCB_ICSR) = ICSR_PENDSTCLR | ICSR_PENDSVCLR;
    REG32(SCB_AIRCR) = AIRCR_KEY;
    REG32(SCB_SCR) = 0;
    REG32(SCB_CCR) = 1u << 9;
    REG32(SCB_SHPR1) = 0;
    REG32(SCB_SHPR2) = 0;
    REG32(SCB_SHPR3) = 0;
    REG32(SCB_SHCSR) = SCB_SHCSR_MEMFAULTENA | SCB_SHCSR_BUSFAULTENA | SCB_SHCSR_USGFAULTENA;
    REG32(SCB_CFSR) = 0xffffffffu;
    __asm volatile("msr control, %0\n\tisb" : : "r"(0));
}

int main(void)
{
    vectors_init();
    for (uint32_t i = NMI; i < 16 + 32; i++)
        vectors_set(i, nvic_entry);
    for (uint32_t i = 0; i < CASES; i++) {
        prepare();
        nvic_result = &nvic_results[i];
        cases[i].run((uint32_t *)nvic_result->values);
        nvic_result->finished = 1;
    }
    report_state(COPRO_STATE_RUN);
    for (;;)
        wfi();
}
