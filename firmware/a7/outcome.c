/*
 * The console line that tells how a step ended: see outcome.h.
 */
#include "outcome.h"

#include "console.h"
#include "fault.h"
#include "optee.h"

static const char *op_name(uint32_t op)
{
    static const char *const names[] = {
        [STEP_SMC] = "SMC",       [STEP_OPEN] = "OPEN",     [STEP_INVOKE] = "INVOKE", [STEP_CLOSE] = "CLOSE",
        [STEP_READ32] = "READ32", [STEP_WRITE32] = "WRITE32", [STEP_COPY] = "COPY",   [STEP_WAIT32] = "WAIT32",
        [STEP_PUTS] = "PUTS",     [STEP_SPIN] = "SPIN",     [STEP_CALL] = "CALL",     [STEP_OFF] = "OFF",
        [STEP_WAIT_IRQ] = "WAIT_IRQ",
    };

    return op >= STEP_SMC && op <= STEP_WAIT_IRQ ? names[op] : "UNKNOWN";
}

static const char *command_name(uint32_t command)
{
    static const char *const names[] = {
        [TA_RPROC_CMD_LOAD_FW] = "LOAD_FW",
        [TA_RPROC_CMD_START_FW] = "START_FW",
        [TA_RPROC_CMD_STOP_FW] = "STOP_FW",
        [TA_RPROC_CMD_GET_RSC_TABLE] = "GET_RSC_TABLE",
        [TA_RPROC_CMD_GET_COREDUMP] = "GET_COREDUMP",
        [TA_RPROC_CMD_RELEASE_FW] = "RELEASE_FW",
    };

    return command >= TA_RPROC_CMD_LOAD_FW && command <= TA_RPROC_CMD_RELEASE_FW ? names[command] : "INVOKE";
}

static const char *fault_name(uint32_t kind)
{
    return kind == FAULT_DATA ? "data abort" : kind == FAULT_PREFETCH ? "prefetch abort" : "undefined instruction";
}

/* The step's name, with the address or function id where the name alone says too little. */
static void print_subject(volatile const struct step *step)
{
    console_text("a7: ");
    console_text(step->op == STEP_INVOKE ? command_name(step->args[1]) : op_name(step->op));
    switch (step->op) {
    case STEP_SMC:
    case STEP_READ32:
    case STEP_WRITE32:
    case STEP_COPY:
    case STEP_WAIT32:
    case STEP_CALL:
        console_text(" ");
        console_hex(step->args[0]);
        break;
    case STEP_WAIT_IRQ:
        console_text(" ");
        console_decimal(step->args[0]);
        break;
    default:
        break;
    }
}

static void print_done(volatile const struct step *step)
{
    switch (step->op) {
    case STEP_OPEN:
    case STEP_INVOKE:
    case STEP_CLOSE:
        console_text(" -> ");
        console_hex(step->result[RESULT_RET]);
        console_text(" origin ");
        console_decimal(step->result[RESULT_ORIGIN]);
        break;
    case STEP_SMC:
    case STEP_READ32:
    case STEP_WAIT32:
    case STEP_CALL:
        console_text(" -> ");
        console_hex(step->result[0]);
        break;
    default:
        console_text(" done");
        break;
    }
}

static void print_fault(volatile const struct step *step)
{
    console_text(" -> ");
    console_text(fault_name(step->fault_kind));
    console_text(" status ");
    console_hex(step->fault_status);
    console_text(" address ");
    console_hex(step->fault_address);
    console_text(" pc ");
    console_hex(step->fault_pc);
}

void outcome_print(volatile const struct step *step)
{
    print_subject(step);
    switch (step->status) {
    case STATUS_DONE:
        print_done(step);
        break;
    case STATUS_FAULTED:
        print_fault(step);
        break;
    case STATUS_TIMED_OUT:
        console_text(" -> timed out, last value ");
        console_hex(step->result[0]);
        break;
    case STATUS_SMC_ERROR:
        console_text(" -> SMC error ");
        console_hex(step->result[RESULT_SMC]);
        break;
    default:
        console_text(" -> unknown op ");
        console_hex(step->op);
        break;
    }
    console_text("\n");
}
