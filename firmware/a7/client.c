/*
 * The normal-world client: runs the step list at STEPS_BASE once, writes each outcome beside its step, then waits.
 */
#include <stdint.h>

#include "console.h"
#include "fault.h"
#include "interrupt.h"
#include "memory.h"
#include "message.h"
#include "optee.h"
#include "outcome.h"
#include "steps.h"

#define PSCI_SYSTEM_OFF 0x84000008u

static volatile struct step_list *const list = (volatile struct step_list *)STEPS_BASE;

int main(void);
uint32_t call_guarded(uint32_t address);

static enum step_status do_smc(volatile struct step *step)
{
    uint32_t registers[8];

    for (int i = 0; i < 8; i++)
        registers[i] = step->args[i];
    smc_call(registers);
    for (int i = 0; i < 4; i++)
        step->result[i] = registers[i];
    return STATUS_DONE;
}

static enum step_status do_read32(volatile struct step *step)
{
    uint32_t value = *(volatile const uint32_t *)step->args[0];

    step->result[0] = fault.kind == FAULT_NONE ? value : 0;
    return STATUS_DONE;
}

static void do_spin(uint32_t iterations)
{
    if (iterations != 0)
        __asm volatile("1: subs %0, %0, #1\n\tbne 1b" : "+r"(iterations) : : "cc");
}

static enum step_status do_wait32(volatile struct step *step)
{
    volatile const uint32_t *word = (volatile const uint32_t *)step->args[0];
    uint32_t mask = step->args[1], value = step->args[2], last = 0;

    for (uint32_t reads = step->args[3]; reads != 0 && fault.kind == FAULT_NONE; reads--) {
        last = *word;
        if ((last & mask) == value) {
            step->result[0] = last;
            return STATUS_DONE;
        }
        do_spin(step->args[4]);
    }
    step->result[0] = last;
    return STATUS_TIMED_OUT;
}

static enum step_status do_wait_irq(volatile struct step *step)
{
    struct interrupt_wait wait = {.id = step->args[0]};
    int came = interrupt_sleep(&wait, step->args[1], step->args[2]);

    step->result[0] = wait.last;
    step->result[1] = wait.taken;
    step->result[2] = wait.spurious;
    step->result[3] = wait.ticks;
    return came ? STATUS_DONE : STATUS_TIMED_OUT;
}

static enum step_status run(volatile struct step *step)
{
    switch (step->op) {
    case STEP_SMC:
        return do_smc(step);
    case STEP_OPEN:
        return optee_open(step);
    case STEP_INVOKE:
        return optee_invoke(step);
    case STEP_CLOSE:
        return optee_close(step);
    case STEP_READ32:
        return do_read32(step);
    case STEP_WRITE32:
        *(volatile uint32_t *)step->args[0] = step->args[1];
        return STATUS_DONE;
    case STEP_COPY:
        copy(step->args[0], step->args[1], step->args[2]);
        return STATUS_DONE;
    case STEP_WAIT32:
        return do_wait32(step);
    case STEP_PUTS:
        console_text((const char *)step->args[0]);
        return STATUS_DONE;
    case STEP_SPIN:
        do_spin(step->args[0]);
        return STATUS_DONE;
    case STEP_CALL:
        step->result[0] = call_guarded(step->args[0]);
        return STATUS_DONE;
    case STEP_WAIT_IRQ:
        return do_wait_irq(step);
    default:
        return STATUS_UNKNOWN_OP;
    }
}

static int asks_tee(uint32_t op)
{
    return op == STEP_OPEN || op == STEP_INVOKE || op == STEP_CLOSE;
}

static int failed(volatile const struct step *step)
{
    return step->status != STATUS_DONE || (asks_tee(step->op) && step->result[RESULT_RET] != 0);
}

/* Write how the step ended; the console line comes last, so that a fault of the console is no fault of the step. */
static void finish(volatile struct step *step, enum step_status status)
{
    step->fault_kind = fault.kind;
    step->fault_status = fault.status;
    step->fault_address = fault.address;
    step->fault_pc = fault.pc;
    step->status = fault.kind != FAULT_NONE ? STATUS_FAULTED : status;
    list->done++;
    fault_clear();
    if (step->flags & STEP_CONSOLE)
        outcome_print(step);
    fault_clear();
}

static void power_off(volatile struct step *step)
{
    uint32_t registers[8] = {PSCI_SYSTEM_OFF, 0, 0, 0, 0, 0, 0, 0};

    finish(step, STATUS_DONE);
    smc_call(registers);
    step->status = STATUS_SMC_ERROR; /* only reached when the secure world did not switch off */
    step->result[0] = registers[0];
}

int main(void)
{
    uint32_t count = list->count;

    fault_clear();
    console_init();
    fault_clear();
    if (list->magic != STEPS_MAGIC || list->version != STEPS_VERSION || count > STEPS_MOST) {
        console_text("a7: no valid step list\n");
        return 0;
    }
    list->done = 0;
    for (uint32_t i = 0; i < count; i++) {
        volatile struct step *step = &list->steps[i];

        if (step->op == STEP_OFF)
            power_off(step);
        else
            finish(step, run(step));
        if ((step->flags & STEP_ESSENTIAL) && failed(step) && list->on_error > i)
            i = list->on_error - 1;
    }
    return 0;
}
