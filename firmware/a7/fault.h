/*
 * The record of the first fault since it was cleared, kept by the exception handlers.
 */
#ifndef COSIM_A7_FAULT_H
#define COSIM_A7_FAULT_H

#include <stdint.h>

enum fault_kind { FAULT_NONE = 0, FAULT_DATA = 1, FAULT_PREFETCH = 2, FAULT_UNDEFINED = 3 };

struct fault {
    uint32_t kind;
    uint32_t status;  /* DFSR or IFSR */
    uint32_t address; /* DFAR or IFAR */
    uint32_t pc;
};

extern volatile struct fault fault;

/* Forget the recorded fault. */
void fault_clear(void);

#endif
