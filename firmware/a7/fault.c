/*
 * What the exception handlers do: record the first fault, and say where the interrupted code goes on.
 */
#include "fault.h"

#define PSR_T (1u << 5)

/* Fault status of an asynchronous external abort, short-descriptor format: FS[4] is bit 10. */
#define FSR_FS_MASK 0x40fu
#define FSR_FS_ASYNC_EXTERNAL 0x406u

volatile struct fault fault;

uint32_t fault_taken(uint32_t kind, uint32_t lr, uint32_t spsr);

void fault_clear(void)
{
    fault.kind = FAULT_NONE;
    fault.status = 0;
    fault.address = 0;
    fault.pc = 0;
}

static void record(uint32_t kind, uint32_t status, uint32_t address, uint32_t pc)
{
    if (fault.kind != FAULT_NONE)
        return;
    fault.kind = kind;
    fault.status = status;
    fault.address = address;
    fault.pc = pc;
}

static uint32_t behind(uint32_t pc, uint32_t spsr)
{
    if (!(spsr & PSR_T))
        return pc + 4;
    return pc + (*(const volatile uint16_t *)pc >= 0xe800u ? 4u : 2u);
}

/*
 * Called by the vectors with the link register as the architecture sets it; the result is where to return to.
 * A prefetch abort does not return: its vector abandons the called code.
 */
uint32_t fault_taken(uint32_t kind, uint32_t lr, uint32_t spsr)
{
    uint32_t status = 0, address = 0, pc;

    switch (kind) {
    case FAULT_DATA:
        __asm volatile("mrc p15, 0, %0, c5, c0, 0" : "=r"(status));
        __asm volatile("mrc p15, 0, %0, c6, c0, 0" : "=r"(address));
        pc = lr - 8;
        break;
    case FAULT_PREFETCH:
        __asm volatile("mrc p15, 0, %0, c5, c0, 1" : "=r"(status));
        __asm volatile("mrc p15, 0, %0, c6, c0, 2" : "=r"(address));
        pc = lr - 4;
        break;
    default:
        pc = lr - ((spsr & PSR_T) ? 2u : 4u);
        break;
    }
    record(kind, status, address, pc);
    if (kind == FAULT_DATA && (status & FSR_FS_MASK) == FSR_FS_ASYNC_EXTERNAL)
        return pc; /* the instruction at pc is not the culprit and has not run yet */
    return kind == FAULT_PREFETCH ? pc : behind(pc, spsr);
}
