/*
 * The step list that the host puts in DDR (docs/architecture.md), and the memory of the normal world around it.
 */
#ifndef COSIM_STEPS_H
#define COSIM_STEPS_H

#include <stdint.h>

#define STEPS_BASE 0xc0100000u
#define STEPS_MAGIC 0x50455453u
#define STEPS_VERSION 1u
#define STEPS_MOST 8191u /* what fits behind the header in 1 MiB */

#define SHM_ARGUMENT 0xdfe00000u
#define SHM_BUFFERS 0xdfe10000u
#define SHM_END 0xe0000000u

#define STEP_CONSOLE (1u << 0)
#define STEP_ESSENTIAL (1u << 1) /* when it fails, go on at steps[on_error] */

enum step_op {
    STEP_SMC = 1,
    STEP_OPEN,
    STEP_INVOKE,
    STEP_CLOSE,
    STEP_READ32,
    STEP_WRITE32,
    STEP_COPY,
    STEP_WAIT32,
    STEP_PUTS,
    STEP_SPIN,
    STEP_CALL,
    STEP_OFF,
    STEP_WAIT_IRQ,
};

enum step_status {
    STATUS_DONE = 0,
    STATUS_TIMED_OUT = 1,
    STATUS_FAULTED = 2,
    STATUS_UNKNOWN_OP = 3,
    STATUS_SMC_ERROR = 4,
};

struct step {
    uint32_t op;
    uint32_t flags;
    uint32_t args[14];
    uint32_t status;
    uint32_t result[11];
    uint32_t fault_kind;
    uint32_t fault_status;
    uint32_t fault_address;
    uint32_t fault_pc;
};

struct step_list {
    uint32_t magic;
    uint32_t version;
    uint32_t count;
    uint32_t done;
    uint32_t on_error;
    uint32_t reserved[11];
    struct step steps[STEPS_MOST];
};

_Static_assert(sizeof(struct step) == 128, "step size is part of the interface");
_Static_assert(sizeof(struct step_list) <= 0x100000, "step list leaves its area");

#endif
