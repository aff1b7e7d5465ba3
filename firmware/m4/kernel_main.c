/*
 * Two tasks with FP context under the kernel of kernel.c: what a firmware with an RTOS needs of the core. It reports
 * that it runs after ten ticks in which no FP register was lost.
 */
#include "faults.h"
#include "kernel.h"
#include "report.h"
#include "stm32mp15.h"

#define TICKS_TO_REPORT 10u
#define ROUNDS 2000u

/* Rounds of each task, and the FP registers that each found changed. */
volatile uint32_t kernel_rounds[2];
volatile uint32_t kernel_fp_lost[2];

int main(void);

static void first(void)
{
    uint32_t lost;
    int reported = 0;

    for (;;) {
        kernel_fp_lost[0] += kernel_hold_fp(0x3f800000u, ROUNDS);
        kernel_rounds[0]++;
        if (reported || kernel_ticks < TICKS_TO_REPORT)
            continue;
        reported = 1;
        lost = kernel_fp_lost[0] + kernel_fp_lost[1];
        trace_text("kernel: ticks ");
        trace_hex(kernel_ticks);
        trace_text(", FP registers lost ");
        trace_hex(lost);
        trace_text("\n");
        report_state(lost ? COPRO_STATE_CRASH : COPRO_STATE_RUN);
    }
}

/* Unprivileged: it reaches the kernel by SVC alone. */
static void second(void)
{
    for (;;) {
        kernel_fp_lost[1] += kernel_hold_fp(0x40490000u, ROUNDS);
        kernel_rounds[1]++;
        kernel_svc_add(2);
    }
}

int main(void)
{
    faults_enable();
    report_init();
    trace_text("kernel: two tasks\n");
    kernel_run(first, second);
}
